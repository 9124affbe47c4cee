# SPDX-License-Identifier: MIT
# The work of the stub of uci.  Sections are numbered; order, type, option and value lie in arrays by number and name.

function fail(why) {
	print "uci: " why > "/dev/stderr"
	exit_status = 1
	exit 1
}

function read_all(file, line, text) {
	text = ""
	while ((getline line < file) > 0)
		text = text line "\n"
	close(file)
	return text
}

# Takes so many characters of source.
function take(n, text) {
	text = substr(source, 1, n)
	source = substr(source, n + 1)
	return text
}

# The words of the next statement of source into word[1..]: plain, 'quoted', "quoted", with \ before one character,
# over several lines inside quotes.  Returns their number; -1 at the end.
function next_words(c, n, open) {
	n = 0
	open = 0
	while (source != "") {
		c = substr(source, 1, 1)
		if (c == "\n") {
			take(1)
			if (n > 0)
				return n
		} else if (c == " " || c == "\t") {
			take(1)
			open = 0
		} else if (c == "#" && !open) {
			match(source, /[^\n]*/)
			take(RLENGTH)
		} else {
			if (!open)
				word[++n] = ""
			open = 1
			word[n] = word[n] piece(c)
		}
	}
	return n > 0 ? n : -1
}

# The next piece of a word, which begins with c.
function piece(c, text, end) {
	if (c == "\\") {
		take(1)
		return take(1)
	}
	if (c == "'") {
		take(1)
		end = index(source, "'")
		text = take(end - 1)
		take(1)
		return text
	}
	if (c == "\"") {
		take(1)
		for (text = ""; source != "" && (c = take(1)) != "\"";)
			text = text (c == "\\" ? take(1) : c)
		return text
	}
	match(source, /[^ \t\n'"\\]+/)
	return take(RLENGTH)
}

# The names that uci gives to sections without one.
function hash(text, i, h) {
	h = 5381
	for (i = 1; i <= length(text); i++)
		h = (h * 33 + code[substr(text, i, 1)]) % 4294967296
	return h % 65536
}

function new_section(name, type) {
	sections++
	anonymous[sections] = name == ""
	name = name == "" ? sprintf("cfg%02x%04x", sections, hash(type)) : name
	section_name[sections] = name
	section_type[sections] = type
	number[name] = sections
	return sections
}

function put(s, option, value, is_list) {
	if (!((s, option) in kind))
		options[s] = options[s] (options[s] == "" ? "" : " ") option
	if (is_list && kind[s, option] != "") {
		if (kind[s, option] == "option") {
			kind[s, option] = "list"
			item[s, option, items[s, option] = 1] = item[s, option, 1]
		}
		item[s, option, ++items[s, option]] = value
		return
	}
	kind[s, option] = is_list ? "list" : "option"
	items[s, option] = 1
	item[s, option, 1] = value
}

function take_out(s, option, n, names, i) {
	if (!((s, option) in kind))
		return 0
	delete kind[s, option]
	delete items[s, option]
	n = split(options[s], names, " ")
	options[s] = ""
	for (i = 1; i <= n; i++)
		if (names[i] != option)
			options[s] = options[s] (options[s] == "" ? "" : " ") names[i]
	return 1
}

function remove_section(s) {
	delete number[section_name[s]]
	section_name[s] = ""
}

function load(package, n, s) {
	file = "/etc/config/" package
	if (system("test -f " file) != 0)
		fail("Entry not found")
	source = read_all(file)
	s = 0
	while ((n = next_words()) != -1) {
		if (word[1] == "config")
			s = new_section(n > 2 ? word[3] : "", word[2])
		else if (word[1] == "option" || word[1] == "list")
			put(s, word[2], n > 2 ? word[3] : "", word[1] == "list")
	}
	changes(package, "/tmp/.uci/" package)
	if (over != "")
		changes(package, over "/" package)
}

# Lines that name what is not there are passed over.
function changes(package, file, n, sign, path, value, part, s, eq) {
	source = read_all(file)
	while ((n = next_words()) != -1) {
		sign = substr(word[1], 1, 1)
		if (index("-|+", sign) > 0)
			word[1] = substr(word[1], 2)
		else
			sign = ""
		eq = index(word[1], "=")
		path = eq ? substr(word[1], 1, eq - 1) : word[1]
		value = eq ? substr(word[1], eq + 1) : ""
		n = split(path, part, ".")
		if (part[1] != package)
			continue
		s = number[part[2]]
		if (n == 2 && sign == "-" && s)
			remove_section(s)
		else if (n == 2 && sign != "-" && !s)
			new_section(part[2], value)
		else if (n == 3 && s && sign == "-")
			take_out(s, part[3])
		else if (n == 3 && s)
			put(s, part[3], value, sign == "|")
	}
}

function quote(text) {
	gsub(/'/, "'\\''", text)
	return "'" text "'"
}

function print_all(all, place, s, n, names, i, j) {
	for (s = 1; s <= sections; s++) {
		if (section_name[s] == "")
			continue
		printf "\nconfig %s%s\n", section_type[s], (all || !anonymous[s] ? " " quote(section_name[s]) : "") > place
		n = split(options[s], names, " ")
		for (i = 1; i <= n; i++)
			for (j = 1; j <= items[s, names[i]]; j++)
				printf "\t%s %s %s\n", kind[s, names[i]], names[i], \
					quote(item[s, names[i], j]) > place
	}
}

# PACKAGE.SECTION.OPTION, where the section may be @TYPE[NUMBER].
function find(path, n, part, type, wanted, s, eq) {
	eq = index(path, "=")
	given = eq ? substr(path, eq + 1) : ""
	path = eq ? substr(path, 1, eq - 1) : path
	n = split(path, part, ".")
	package = part[1]
	load(package)
	section = part[2]
	option = part[3]
	if (section ~ /^@/) {
		type = section
		sub(/^@/, "", type)
		sub(/\[.*/, "", type)
		wanted = section
		sub(/.*\[/, "", wanted)
		section = ""
		for (s = 1; s <= sections; s++)
			if (section_type[s] == type && section_name[s] != "" && wanted-- == 0)
				section = section_name[s]
	}
	return number[section]
}

function save(line) {
	place = (over != "" ? over : "/tmp/.uci") "/" package
	print line >> place
}

BEGIN {
	exit_status = 0
	for (i = 1; i < 128; i++)
		code[sprintf("%c", i)] = i
	command = ENVIRON["UCI_COMMAND"]
	words = ENVIRON["UCI_WORDS"]
	over = ENVIRON["UCI_OVER"]

	if (command == "export") {
		load(words)
		printf "package %s\n", words > "/dev/stdout"
		print_all(1, "/dev/stdout")
	} else if (command == "commit") {
		if (over == "") {
			load(words)
			print_all(0, "/etc/config/" words)
			system("rm -f /tmp/.uci/" words)
		}
	} else if (command == "changes") {
		printf "%s", read_all("/tmp/.uci/" words)
	} else {
		s = find(words)
		name = package "." section (option != "" ? "." option : "")
		if (command == "get") {
			if (!s || (option != "" && !((s, option) in kind)))
				fail("Entry not found")
			if (option == "")
				print section_type[s]
			for (j = 1; option != "" && j <= items[s, option]; j++)
				printf "%s%s", item[s, option, j], (j == items[s, option] ? "\n" : " ")
		} else if (command == "delete") {
			if (!s || (option != "" && !((s, option) in kind)))
				fail("Entry not found")
			save("-" name)
		} else if (command == "set" || command == "add_list") {
			if (!s && option != "")
				fail("Invalid argument")
			# A value that is the same is not noted.
			if (command == "add_list")
				save("|" name "=" quote(given))
			else if (!((s, option) in kind) || kind[s, option] != "option" || item[s, option, 1] "" != given "")
				save(name "=" quote(given))
		} else {
			fail("Usage: uci ...")
		}
	}
	exit exit_status
}
