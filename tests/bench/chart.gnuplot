# SPDX-License-Identifier: MIT
# report.py --chart gives the output, names (of the programs), and $figures: a block for each program, a
# line for each group of bars: its number from 1, and the value.
# Without a background and in middle tones, so that it can be read on light and on dark pages.
ink = '#7d838b'
colours = '#2f81f7 #d29922 #3fa150 #db6d28 #a371f7 #8b949e'
width = 0.8 / words(names)
at(group, program) = group + (program - (words(names) + 1) / 2.0) * width

set terminal svg size 800,340 font 'sans-serif,13' name 'bench'
set datafile missing '?'
set title 'CPU seconds for 100,000 queries, on one core: shorter is better' textcolor rgb ink
set key outside below horizontal center maxrows 1 samplen 1 textcolor rgb ink
set border 1 linecolor rgb ink
set xrange [0.5:3.5]
set yrange [0:*]
set xtics ('miss, UDP' 1, 'hit, UDP' 2, 'miss, TCP, 20 connections' 3) nomirror scale 0 textcolor rgb ink
unset ytics
set style fill solid noborder
set boxwidth 0.9 * width
plot for [i = 1:words(names)] $figures index i - 1 using (at($1, i)):2 with boxes \
	linecolor rgb word(colours, i) title word(names, i), \
	for [i = 1:words(names)] $figures index i - 1 using (at($1, i)):2:(sprintf('%.2f', $2)) with labels \
	offset 0,0.6 font ',10' textcolor rgb ink notitle
