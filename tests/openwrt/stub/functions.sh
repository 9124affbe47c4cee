# SPDX-License-Identifier: MIT
# What OpenWrt's /lib/functions.sh and /lib/config/uci.sh do.  The output of "uci export" is run as a script there
# too, with these functions for its words.

LOAD_STATE=1

config_load() {
	local data section_option
	for section_option in $CONFIG_LISTS; do
		eval "CONFIG_${section_option}= CONFIG_${section_option}_LENGTH="
	done
	CONFIG_LISTS='' CONFIG_SECTIONS='' CONFIG_SECTION='' CONFIG_COUNT=0
	data=$(/sbin/uci ${LOAD_STATE:+-P /var/state} -S -n export "$1" 2>/dev/null) || return 1
	eval "$data"
}

package() { :; }

config() {
	CONFIG_COUNT=$((CONFIG_COUNT + 1))
	CONFIG_SECTION=${2:-cfg$CONFIG_COUNT}
	CONFIG_SECTIONS="$CONFIG_SECTIONS $CONFIG_SECTION"
	config_set "$CONFIG_SECTION" TYPE "$1"
}

option() {
	local name=$1
	shift
	config_set "$CONFIG_SECTION" "$name" "$*"
}

list() {
	local name=$1 length value
	shift
	config_get length "$CONFIG_SECTION" "${name}_LENGTH" 0
	[ "$length" != 0 ] || CONFIG_LISTS="$CONFIG_LISTS ${CONFIG_SECTION}_$name"
	length=$((length + 1))
	config_set "$CONFIG_SECTION" "${name}_ITEM$length" "$*"
	config_set "$CONFIG_SECTION" "${name}_LENGTH" "$length"
	config_get value "$CONFIG_SECTION" "$name"
	config_set "$CONFIG_SECTION" "$name" "${value:+$value }$*"
}

config_set() { eval "CONFIG_${1}_${2}=\$3"; }

config_get() {
	case "$2$3" in
	*[!A-Za-z0-9_]*) ;;
	*) eval "$1=\${CONFIG_${2}_${3}:-\$4}" ;;
	esac
}

config_get_bool() {
	local word
	config_get word "$2" "$3" "$4"
	case "$word" in
	1 | on | true | yes | enabled) word=1 ;;
	0 | off | false | no | disabled) word=0 ;;
	*) word=$4 ;;
	esac
	eval "$1=\$word"
}

config_foreach() {
	local function=$1 wanted=$2 section type
	shift 2
	for section in $CONFIG_SECTIONS; do
		config_get type "$section" TYPE
		case "$type" in
		"${wanted:-$type}") "$function" "$section" "$@" ;;
		esac
	done
}

config_list_foreach() {
	local section=$1 option=$2 function=$3 length value number=1
	shift 3
	config_get length "$section" "${option}_LENGTH"
	[ -n "$length" ] || return 0
	while [ "$number" -le "$length" ]; do
		config_get value "$section" "${option}_ITEM$number"
		"$function" "$value" "$@"
		number=$((number + 1))
	done
}

uci_get() { /sbin/uci -q get "$1${2:+.$2}${3:+.$3}"; }

# default_postinst and default_prerm call every init script of the package.
package_scripts() {
	grep -s '^/etc/init.d/' "/usr/lib/opkg/info/$pkgname.list"
}
default_postinst() {
	local pkgname script
	pkgname=$(basename "${1%.*}")
	for script in $(package_scripts); do
		[ "$PKG_UPGRADE" = 1 ] || "$script" enable
		"$script" start
	done
}
default_prerm() {
	local pkgname script
	pkgname=$(basename "${1%.*}")
	for script in $(package_scripts); do
		[ "$PKG_UPGRADE" = 1 ] || "$script" disable
		"$script" stop
	done
}

group_exists() { grep -qs "^$1:" /etc/group; }
user_exists() { grep -qs "^$1:" /etc/passwd; }
group_add() { echo "$1:x:$2:" >>/etc/group; }
user_add() { echo "$1:x:$2:$3:$1:/var/run/$1:/bin/false" >>/etc/passwd; }
