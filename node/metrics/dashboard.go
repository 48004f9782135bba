package metrics

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A dashboard as Grafana reads it; only what is used here.
type (
	grafana struct {
		UID           string    `json:"uid"`
		Title         string    `json:"title"`
		Tags          []string  `json:"tags"`
		Editable      bool      `json:"editable"`
		SchemaVersion int       `json:"schemaVersion"`
		Refresh       string    `json:"refresh"`
		Time          span      `json:"time"`
		Templating    variables `json:"templating"`
		Panels        []drawn   `json:"panels"`
	}
	span struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	variables struct {
		List []variable `json:"list"`
	}
	variable struct {
		Name       string  `json:"name"`
		Label      string  `json:"label"`
		Type       string  `json:"type"`
		Query      string  `json:"query"`
		Datasource *source `json:"datasource,omitempty"`
		Multi      bool    `json:"multi"`
		IncludeAll bool    `json:"includeAll"`
		AllValue   string  `json:"allValue,omitempty"`
		Refresh    int     `json:"refresh"`
	}
	source struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
	drawn struct {
		ID          int      `json:"id"`
		Type        string   `json:"type"`
		Title       string   `json:"title"`
		Description string   `json:"description,omitempty"`
		GridPos     place    `json:"gridPos"`
		Datasource  *source  `json:"datasource,omitempty"`
		FieldConfig *fields  `json:"fieldConfig,omitempty"`
		Targets     []target `json:"targets,omitempty"`
		Panels      *[]drawn `json:"panels,omitempty"` // of a row: empty, those shown follow it
	}
	place struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	}
	fields struct {
		Defaults  defaults `json:"defaults"`
		Overrides []string `json:"overrides"`
	}
	defaults struct {
		Unit string `json:"unit,omitempty"`
		Min  int    `json:"min"`
	}
	target struct {
		RefID        string `json:"refId"`
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat"`
	}
)

// Sizes on Grafana's grid, 24 wide.
const (
	gridWidth               = 24
	panelWidth, panelHeight = 8, 7
)

// Dashboard returns the Grafana dashboard, as JSON.
func Dashboard() ([]byte, error) {
	prometheus := &source{Type: "prometheus", UID: "${datasource}"}
	d := grafana{
		UID: "carecircle", Title: "carecircle", Tags: []string{"carecircle"}, Editable: true,
		SchemaVersion: 39, Refresh: "30s", Time: span{From: "now-6h", To: "now"},
		Templating: variables{List: []variable{
			{Name: "datasource", Label: "Prometheus", Type: "datasource", Query: "prometheus", Refresh: 1},
			{
				Name: "instance", Label: "Node", Type: "query",
				Query: "label_values(carecircle_ready, instance)", Datasource: prometheus,
				Multi: true, IncludeAll: true, AllValue: ".*", Refresh: 2,
			},
		}},
	}
	row, x, y := "", 0, 0
	for _, m := range table {
		if m.panel.title == "" {
			continue
		}
		if m.panel.row != row {
			if x > 0 {
				y += panelHeight
			}
			row, x = m.panel.row, 0
			d.Panels = append(d.Panels, drawn{
				ID: len(d.Panels) + 1, Type: "row", Title: row, GridPos: place{H: 1, W: gridWidth, Y: y},
				Panels: &[]drawn{},
			})
			y++
		}
		d.Panels = append(d.Panels, drawn{
			ID: len(d.Panels) + 1, Type: "timeseries", Title: m.panel.title, Description: m.help,
			GridPos: place{H: panelHeight, W: panelWidth, X: x, Y: y}, Datasource: prometheus,
			FieldConfig: &fields{Defaults: defaults{Unit: m.panel.unit}, Overrides: []string{}},
			Targets:     m.targets(),
		})
		if x += panelWidth; x >= gridWidth {
			x, y = 0, y+panelHeight
		}
	}
	raw, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make the dashboard: %w", err)
	}
	return append(raw, '\n'), nil
}

// targets are the queries that show a metric.
func (m metric) targets() []target {
	legend := []string{"{{instance}}"}
	for _, l := range m.labels {
		legend = append(legend, "{{"+l+"}}")
	}
	mine := `{instance=~"$instance"}`
	if m.kind == foreign {
		mine = `{job="carecircle",instance=~"$instance"}`
	}
	switch {
	case m.panel.expr != "":
		return []target{{RefID: "A", Expr: m.panel.expr}}
	case m.kind == counter:
		return []target{{
			RefID: "A", LegendFormat: "{{instance}}",
			Expr: fmt.Sprintf("sum by (instance) (rate(%s%s[$__rate_interval]))", m.name, mine),
		}}
	case m.kind == histogram:
		var both []target
		for i, q := range []string{"0.5", "0.99"} {
			both = append(both, target{
				RefID: string(rune('A' + i)), LegendFormat: "{{instance}} p" + strings.TrimPrefix(q, "0."),
				Expr: fmt.Sprintf("histogram_quantile(%s, sum by (instance, le) "+
					"(rate(%s_bucket%s[$__rate_interval])))", q, m.name, mine),
			})
		}
		return both
	}
	return []target{{
		RefID: "A", Expr: m.name + mine, LegendFormat: strings.Join(legend, " "),
	}}
}
