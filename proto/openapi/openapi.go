// Package openapi embeds the OpenAPI description generated from the contract.
package openapi

import _ "embed"

// JSON is the OpenAPI 2.0 document of all services under /v1.
//
//go:embed tms.swagger.json
var JSON []byte
