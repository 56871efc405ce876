package extauthz_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/saguard/saguard/authz/extauthz"
)

func overUnix(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
}

func post(t testing.TB, client *http.Client, url, contentType, body string) (int, string) {
	t.Helper()
	in, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	in.Header.Set("Content-Type", contentType)
	out, err := client.Do(in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	return out.StatusCode, strings.TrimSpace(read(t, out.Body))
}

const jsonAllowed = `"request":{"source":{"address":"10.0.0.1","port":40000,"principal":"spiffe://cluster.local/ns/prod/sa/web"},"destination":{"address":"10.0.1.1","port":8080},"http":{"method":"GET","path":"/public","host":"api"}}`

func TestJSONIsAnsweredLikeEnvoy(t *testing.T) {
	r := start(t, func(o *extauthz.Options) { o.MaxMessageBytes = 64 << 10 })
	client := overUnix(r.json)
	cases := map[string]struct {
		body, contentType string
		status            int
		want              string
		reason            string // recorded
	}{
		"allowed": {body: `{` + jsonAllowed + `}`, status: 200, want: `{"decision":"OK"}`, reason: "policy-rule"},
		"explained": {body: `{"explain":true,"id":"7",` + jsonAllowed + `}`, status: 200,
			want: `{"decision":"OK","reason":"policy-rule","tier":"default","policy":"api","rule":1,"revision":7}`, reason: "policy-rule"},
		"rule 0, explained": {body: `{"explain":true,` + strings.NewReplacer("10.0.0.1", "10.0.0.2", "sa/web", "sa/batch").Replace(jsonAllowed) + `}`, status: 403,
			want: `{"decision":"PERMISSION_DENIED","reason":"policy-rule","tier":"default","policy":"api","rule":0,"revision":7}`, reason: "policy-rule"},
		"the server by name":            {body: `{"server":"prod/api-0",` + jsonAllowed + `}`, status: 200, want: `{"decision":"OK"}`, reason: "policy-rule"},
		"another server by name":        {body: `{"server":"plain/api-0",` + jsonAllowed + `}`, status: 403, want: `{"decision":"PERMISSION_DENIED"}`, reason: "destination-address"},
		"no such server":                {body: `{"server":"prod/x",` + jsonAllowed + `}`, status: 403, want: `{"decision":"PERMISSION_DENIED"}`, reason: "unknown-server"},
		"not a server":                  {body: `{"server":"prod",` + jsonAllowed + `}`, status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "malformed-request"},
		"denied":                        {body: `{` + strings.Replace(jsonAllowed, "10.0.0.1", "10.0.0.2", 1) + `}`, status: 403, want: `{"decision":"PERMISSION_DENIED"}`, reason: "identity-mismatch"},
		"fields that nobody knows":      {body: `{"x":1,` + strings.Replace(jsonAllowed, `"port":40000`, `"port":40000,"labels":{"role":"web"}`, 1) + `}`, status: 200, want: `{"decision":"OK"}`, reason: "policy-rule"},
		"a path without a slash":        {body: `{` + strings.Replace(jsonAllowed, "/public", "public", 1) + `}`, status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "invalid-path"},
		"a port that is none":           {body: `{` + strings.Replace(jsonAllowed, "40000", "-1", 1) + `}`, status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "malformed-request"},
		"no request":                    {body: `{}`, status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "malformed-request"},
		"an empty request":              {body: `{"request":{}}`, status: 403, want: `{"decision":"PERMISSION_DENIED"}`, reason: "unknown-server"},
		"nothing":                       {body: ``, status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "malformed-request"},
		"not JSON":                      {body: `x`, status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "malformed-request"},
		"null":                          {body: `null`, status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "malformed-request"},
		"two requests":                  {body: `{` + jsonAllowed + `}{` + jsonAllowed + `}`, status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "malformed-request"},
		"wrong types":                   {body: `{"request":{"source":[]}}`, status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "malformed-request"},
		"deeply nested":                 {body: strings.Repeat(`[`, 20000), status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "malformed-request"},
		"too large":                     {body: `{"id":"` + strings.Repeat("x", 64<<10) + `",` + jsonAllowed + `}`, status: 413, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "too-large"},
		"another content type":          {body: `{` + jsonAllowed + `}`, contentType: "text/plain", status: 400, want: `{"decision":"INVALID_ARGUMENT"}`, reason: "malformed-request"},
		"a content type with a charset": {body: `{` + jsonAllowed + `}`, contentType: "application/json; charset=utf-8", status: 200, want: `{"decision":"OK"}`, reason: "policy-rule"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.contentType == "" {
				tc.contentType = "application/json"
			}
			status, body := post(t, client, "http://agent"+extauthz.PathCheck, tc.contentType, tc.body)
			if status != tc.status || body != tc.want {
				t.Errorf("got %d %s, want %d %s", status, body, tc.status, tc.want)
			}
			if got := r.journal.last(t).Reason; got != tc.reason {
				t.Errorf("recorded %s, want %s", got, tc.reason)
			}
		})
	}
	r.store.current.Store(nil)
	if status, body := post(t, client, "http://agent"+extauthz.PathCheck, "application/json", `{`+jsonAllowed+`}`); status != 503 || body != `{"decision":"UNAVAILABLE"}` {
		t.Errorf("without a snapshot: got %d %s", status, body)
	}
	for _, path := range []string{"/", "/v1/checks", "/v1/check/"} {
		if status, _ := post(t, client, "http://agent"+path, "application/json", `{`+jsonAllowed+`}`); status != 404 {
			t.Errorf("%s: got %d", path, status)
		}
	}
}

// The JSON of a check is what the command line reads; both have the fields of Envoy's attributes.
func TestCheckBodyHasTheShapeOfTheCorpus(t *testing.T) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(`{` + jsonAllowed + `}`)))
	decoder.DisallowUnknownFields()
	var body extauthz.CheckBody
	if err := decoder.Decode(&body); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(raw), `{`+jsonAllowed+`}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
