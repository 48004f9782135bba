package metrics

import (
	"fmt"
	"strconv"
	"strings"
)

// Rules returns Prometheus' alert rules, as YAML.
func Rules() []byte {
	var b strings.Builder
	b.WriteString("# Made by: go run ./node/metrics/build\n")
	b.WriteString("groups:\n  - name: carecircle\n    rules:\n")
	for _, m := range table {
		for _, a := range m.alerts {
			fmt.Fprintf(&b, "      - alert: %s\n", a.name)
			fmt.Fprintf(&b, "        expr: >-%s\n", folded(a.expr, "\n          "))
			fmt.Fprintf(&b, "        for: %s\n", a.lasts)
			fmt.Fprintf(&b, "        labels:\n          severity: %s\n", a.severity)
			fmt.Fprintf(&b, "        annotations:\n          summary: %s\n",
				strconv.Quote(a.summary+" ({{ $labels.instance }})"))
			fmt.Fprintf(&b, "          runbook: deploy/README.md#%s\n", strings.ToLower(a.name))
		}
	}
	return []byte(b.String())
}

// folded breaks text at spaces into lines of at most 80 columns or one word, as a folded block of YAML.
func folded(text, newLine string) string {
	var b strings.Builder
	column := 80
	for _, word := range strings.Fields(text) {
		if column+1+len(word) > 80 {
			b.WriteString(newLine)
			column = 0
		} else {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
