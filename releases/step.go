package releases

import "go.yaml.in/yaml/v3"

func checkStep(d *document, at *yaml.Node, key string, from, to map[string]any, s Step, ops []*yaml.Node) {
}
