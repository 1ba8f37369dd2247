package releases

import "strings"

// meant is what follows a name that is not known: the known one that it is most
// like, as a question, or nothing.
func meant(name string, known []string) string {
	best, at := "", 0
	for _, k := range known {
		d := distance(name, k)
		if most := max(1, min(len(name), len(k))/3); d <= most && (best == "" || d < at) {
			best, at = k, d
		}
	}
	if best == "" || at == 0 {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the number of letters to insert, remove, replace or swap with
// their neighbour that leads from one word to another.
func distance(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			change := 1
			if x[i-1] == y[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
