package policyconfig

import (
	"bytes"
	"encoding/json"
	"math"
	"time"
)

// SchemaID is the identifier of the schema.
const SchemaID = "https://github.com/go-resilience/resilience/policyconfig/schema.json"

// Schema returns the JSON Schema (2020-12) of a configuration, for editors: a file that names it in "$schema" is
// completed and checked while it is written. It is generated from the decoder's own tables, and is the content of
// schema.json next to this package's source. What a schema cannot express, such as that a name must be registered, only
// [Load] checks.
func Schema() []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema()); err != nil {
		panic(err) // of strings, numbers and maps
	}
	return b.Bytes()
}

// document is a part of a schema. encoding/json sorts its keys.
type document = map[string]any

func objectSchema(doc string, properties document, required ...string) document {
	properties["$comment"] = document{"type": "string"}
	s := document{"type": "object", "properties": properties, "additionalProperties": false}
	if doc != "" {
		s["description"] = doc
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func reference(name string) document { return document{"$ref": "#/$defs/" + name} }

func schema() document {
	defs := document{
		// A number, a unit, and again; ParseDuration says the rest.
		"duration": document{
			"type": "string", "pattern": `^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$`,
			"description": "A duration with a unit, such as \"250ms\".",
		},
		"names": document{
			"description": "A name, or a list of names, of what the program has registered.",
			"anyOf": []any{
				document{"type": "string", "minLength": 1},
				document{"type": "array", "items": document{"type": "string", "minLength": 1}, "minItems": 1, "uniqueItems": true},
			},
		},
		"stage": document{
			"description": "Moves the layer to another stage.",
			"anyOf":       []any{document{"enum": sortedKeys(stages)}, document{"type": "integer", "minimum": 1, "maximum": 1_000_000}},
		},
		"perKey": objectSchema("One for each key, instead of one for all.", optionsSchema(document{
			"key": document{"type": "string", "minLength": 1, "description": keyOption.doc},
		}, keyedOptions), "key"),
		"buckets": objectSchema("One limiter with a bucket for each key.", optionsSchema(document{
			"key": document{"type": "string", "minLength": 1, "description": keyOption.doc},
		}, []*option{roomOption}), "key", "keys"),
		"use": objectSchema("A policy that pipelines share.", document{
			"use": document{"type": "string", "description": "The name of the policy."}, "stage": reference("stage"), "enabled": enabledSchema,
		}, "use"),
		"layer": objectSchema("A layer of the program.", document{
			"kind": document{"const": "layer"}, "layer": document{"type": "string", "minLength": 1, "description": "Its name in Registry.Layers."},
			"stage": reference("stage"), "enabled": enabledSchema,
		}, "kind", "layer"),
	}
	// One condition for each kind, and not anyOf: so editors and messages know which one is meant.
	var layers, policies, names []any
	for _, k := range kinds {
		defs[k.name] = k.schema(true)
		names = append(names, k.name)
		is := document{"properties": document{"kind": document{"const": k.name}}, "required": []string{"kind"}}
		layers = append(layers, document{"if": is, "then": reference(k.name)})
		policies = append(policies, document{"if": is, "then": k.schema(false)})
	}
	layers = append(layers,
		document{"if": document{"properties": document{"kind": document{"const": "layer"}}, "required": []string{"kind"}}, "then": reference("layer")},
		document{"if": document{"required": []string{"use"}}, "then": reference("use")})
	policies = append(policies, document{
		"if":   document{"properties": document{"kind": document{"const": "layer"}}, "required": []string{"kind"}},
		"then": objectSchema("", document{"kind": document{"const": "layer"}, "layer": document{"type": "string"}, "enabled": enabledSchema}, "kind", "layer"),
	})
	all := append([]any{"layer"}, names...)
	defs["anyLayer"] = document{
		"type": "object", "allOf": layers,
		"properties": document{"kind": document{"enum": all}},
		"anyOf":      []any{document{"required": []string{"kind"}}, document{"required": []string{"use"}}},
	}
	defs["policy"] = document{
		"type": "object", "allOf": policies, "required": []string{"kind"},
		"properties": document{"kind": document{"enum": all}},
	}
	var budgets []any
	for _, o := range budgetKinds {
		properties := argumentsSchema(o.args)
		properties["kind"] = document{"const": o.key}
		budgets = append(budgets, objectSchema(o.doc, properties, append(requiredOf(o.args), "kind")...))
	}
	defs["budget"] = document{"oneOf": budgets}
	defs["pipeline"] = document{
		"type": "object", "additionalProperties": false,
		"properties": document{
			"$comment": document{"type": "string"},
			"extends":  document{"type": "string", "description": "The pipeline whose layers and options this one inherits."},
			"name":     document{"type": "string", "maxLength": maxName, "description": "The name in events and reports; empty for none.", "default": "the name of the member"},
			"classify": document{"type": "string", "description": classifyOption.doc},
			"observe":  reference("names"),
			"layers":   document{"type": "array", "items": reference("anyLayer"), "description": "The layers, in any order."},
		},
		"anyOf": []any{document{"required": []string{"layers"}}, document{"required": []string{"extends"}}},
	}
	// In what extends another pipeline, a layer may leave out what it inherits, and take it away with null.
	named := func(description, item string) document {
		return document{
			"type": "object", "description": description, "properties": document{"$comment": document{"type": "string"}},
			"propertyNames":        document{"minLength": 1, "maxLength": 200},
			"additionalProperties": reference(item),
		}
	}
	defs["inheriting"] = inheriting(defs["pipeline"].(document))
	pipelines := named("The pipelines, by name.", "pipeline")
	pipelines["additionalProperties"] = document{
		"if": document{"required": []string{"extends"}}, "then": reference("inheriting"), "else": reference("pipeline"),
	}
	root := objectSchema("Pipelines of resilience policies.", document{
		"$schema":   document{"type": "string"},
		"budgets":   named("Retry budgets that policies share, by name.", "budget"),
		"policies":  named("Policies that pipelines share, by name.", "policy"),
		"pipelines": pipelines,
	}, "pipelines")
	root["$schema"], root["$id"], root["$defs"] = "https://json-schema.org/draft/2020-12/schema", SchemaID, defs
	root["title"] = "Configuration of github.com/go-resilience/resilience/policyconfig"
	return root
}

var enabledSchema = document{"type": "boolean", "default": true, "description": "false leaves the layer out; its state is kept."}

// inheriting is a pipeline that extends another one. Its layers are checked when what they inherit is known.
func inheriting(pipeline document) document {
	s := document{}
	for key, value := range pipeline {
		s[key] = value
	}
	properties := document{}
	for key, value := range pipeline["properties"].(document) {
		properties[key] = value
	}
	var conditions, names []any
	for _, k := range kinds {
		loose := k.schema(true)
		delete(loose, "required")
		delete(loose, "oneOf")
		options := document{}
		for key, value := range loose["properties"].(document) {
			if key == "kind" || key[0] == '$' {
				options[key] = value
				continue
			}
			options[key] = document{"anyOf": []any{value, document{"type": "null"}}}
		}
		loose["properties"] = options
		names = append(names, k.name)
		conditions = append(conditions, document{
			"if":   document{"properties": document{"kind": document{"const": k.name}}, "required": []string{"kind"}},
			"then": loose,
		})
	}
	conditions = append(conditions,
		document{"if": document{"properties": document{"kind": document{"const": "layer"}}, "required": []string{"kind"}}, "then": reference("layer")},
		document{"if": document{"required": []string{"use"}}, "then": reference("use")})
	for _, key := range []string{"classify", "observe"} {
		properties[key] = document{"anyOf": []any{properties[key], document{"type": "null"}}}
	}
	properties["layers"] = document{
		"type": "array", "description": "What differs from the layers that are inherited.",
		"items": document{
			"type": "object", "allOf": conditions, "properties": document{"kind": document{"enum": append(names, "layer")}},
			"anyOf": []any{document{"required": []string{"kind"}}, document{"required": []string{"use"}}},
		},
	}
	s["properties"] = properties
	delete(s, "anyOf")
	return s
}

// schema returns that of a layer of the kind, of a pipeline or shared.
func (k *kind) schema(inPipeline bool) document {
	properties := optionsSchema(document{"kind": document{"const": k.name}, "enabled": enabledSchema}, k.options)
	if inPipeline {
		properties["stage"] = reference("stage")
	}
	if k.named {
		properties["name"] = document{"type": "string", "maxLength": maxName, "description": nameOption.doc}
	}
	if k.shadowing {
		properties["mode"] = document{"enum": modeOption.args[0].choices, "default": modeOption.otherwise, "description": modeOption.doc}
	}
	if k.keyed {
		properties["perKey"] = reference("perKey")
	}
	if k == ratelimitKind {
		properties["perKey"] = document{"anyOf": []any{reference("perKey"), reference("buckets")}}
	}
	var ways []any
	for _, c := range k.constructors {
		if c.key != "" {
			properties[c.key] = c.schema()
			ways = append(ways, document{"required": []string{c.key}})
			continue
		}
		for name, s := range argumentsSchema(c.args) {
			properties[name] = s
		}
		if len(c.args) > 0 {
			ways = append(ways, document{"required": requiredOf(c.args)})
		}
	}
	s := objectSchema(k.doc, properties, "kind")
	if ways != nil {
		s["oneOf"] = ways
	}
	return s
}

func optionsSchema(properties document, options []*option) document {
	for _, o := range options {
		properties[o.key] = o.schema()
	}
	return properties
}

func (o *option) schema() document {
	var s document
	switch {
	case o.code != "" && o.list:
		return document{"allOf": []any{reference("names")}, "description": o.doc}
	case o.code != "":
		s = document{"type": "string", "minLength": 1}
	case len(o.args) == 0:
		s = document{"type": "boolean"}
	case len(o.args) == 1:
		s = o.args[0].schema()
		if o.otherwise != "" {
			s["default"] = json.RawMessage(defaultJSON(o.args[0], o.otherwise))
		}
	default:
		s = document{
			"type": "object", "additionalProperties": false,
			"properties": argumentsSchema(o.args), "required": requiredOf(o.args),
		}
		s["properties"].(document)["$comment"] = document{"type": "string"}
	}
	if o.doc != "" {
		s["description"] = o.doc
	}
	return s
}

func defaultJSON(a argument, text string) string {
	if a.typ == isInteger || a.typ == isNumber {
		return text
	}
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

func argumentsSchema(args []argument) document {
	properties := document{}
	for _, a := range args {
		properties[a.name] = a.schema()
	}
	return properties
}

func requiredOf(args []argument) (names []string) {
	for _, a := range args {
		if !a.optional {
			names = append(names, a.name)
		}
	}
	return names
}

func (a argument) schema() document {
	switch a.typ {
	case isDuration:
		s := document{"allOf": []any{reference("duration")}}
		switch {
		case a.above:
			s["description"] = "Above 0."
		case a.low > 0:
			s["description"] = "At least " + time.Duration(a.low).String() + "."
		}
		return s
	case isText:
		if a.choices != nil {
			return document{"enum": a.choices}
		}
		return document{"type": "string"}
	}
	s := document{"type": "number"}
	if a.typ == isInteger {
		s["type"] = "integer"
	}
	low := "minimum"
	if a.above {
		low = "exclusiveMinimum"
	}
	s[low] = a.low
	if !math.IsInf(a.high, 1) {
		s["maximum"] = a.high
	}
	if a.infinite {
		return document{"anyOf": []any{document{"const": 0}, s, document{"const": "+Inf"}}}
	}
	return s
}
