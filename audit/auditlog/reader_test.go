package auditlog_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/audit/auditlog"
)

// event is one as an API server writes it, of the keys that are given instead of the usual ones.
func event(changes ...string) string {
	values := map[string]string{
		"apiVersion": `"audit.k8s.io/v1"`, "auditID": `"11111111-0000-0000-0000-000000000001"`, "stage": `"ResponseComplete"`, "verb": `"patch"`,
		"objectRef": `{"resource":"serviceaccounts","namespace":"prod","name":"web","apiVersion":"v1"}`,
		"time":      `"2026-11-22T10:00:00.000000Z"`, "annotations": `{}`, "more": "",
	}
	for i := 0; i < len(changes); i += 2 {
		values[changes[i]] = changes[i+1]
	}
	return fmt.Sprintf(`{"kind":"Event","apiVersion":%s,"level":"Metadata","auditID":%s,"stage":%s,"requestURI":"/x","verb":%s,`+
		`"user":{"username":"sam","groups":["security"]},"objectRef":%s,"responseStatus":{"metadata":{},"code":200},%s"requestReceivedTimestamp":%s,"annotations":%s}`,
		values["apiVersion"], values["auditID"], values["stage"], values["verb"], values["objectRef"], values["more"], values["time"], values["annotations"])
}

func read(t *testing.T, log string) ([]*auditlog.Entry, auditlog.Stats) {
	t.Helper()
	r := auditlog.NewReader(auditlog.Guarded())
	var got []*auditlog.Entry
	if err := r.Read(t.Context(), "audit.log", strings.NewReader(log), func(e *auditlog.Entry) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return got, r.Stats()
}

func ref(resource, subresource string) string {
	sub := ""
	if subresource != "" {
		sub = fmt.Sprintf(`,"subresource":%q`, subresource)
	}
	return fmt.Sprintf(`{"resource":%q,"namespace":"prod","name":"web","apiVersion":"v1"%s}`, resource, sub)
}

const record = `{"level":"info","schema":"saguard.io/decision/v1","time":"2026-11-22T10:00:00Z","component":"webhook","decision":"Deny","reason":"forbidden","revision":1,"durationMicros":2}`

func TestWhatIsGiven(t *testing.T) {
	for name, tc := range map[string]struct {
		line string
		want int
	}{
		"a label change":     {event(), 1},
		"reading an account": {event("verb", `"get"`), 0},
		"a token":            {event("verb", `"create"`, "objectRef", ref("serviceaccounts", "token")), 1},
		"an exec by websocket, whose verb is get": {event("verb", `"get"`, "objectRef", ref("pods", "exec")), 1},
		"a pod's status":                                {event("objectRef", ref("pods", "status")), 0},
		"a new pod":                                     {event("verb", `"create"`, "objectRef", ref("pods", "")), 1},
		"a lease":                                       {event("verb", `"update"`, "objectRef", ref("leases", "")), 0},
		"a webhook configuration":                       {event("verb", `"delete"`, "objectRef", ref("validatingwebhookconfigurations", "")), 1},
		"a request that has no outcome yet":             {event("stage", `"RequestReceived"`), 0},
		"a stream that has begun":                       {event("stage", `"ResponseStarted"`, "verb", `"create"`, "objectRef", ref("pods", "exec")), 1},
		"a request that panicked":                       {event("stage", `"Panic"`), 1},
		"a record of saguard's":                         {record, 1},
		"a record of another schema":                    {strings.Replace(record, "/v1", "/v9", 1), 0},
		"another line of saguard's log":                 {`{"level":"info","msg":"started","objectRef":{"resource":"serviceaccounts"}}`, 0},
		"an event with spaces, as jq prints it":         {strings.NewReplacer(`":`, `": `, `,"`, `, "`).Replace(event()), 1},
		"keys in alphabetical order":                    {`{"annotations":{},"apiVersion":"audit.k8s.io/v1","auditID":"a","kind":"Event","level":"Request","objectRef":{"apiVersion":"v1","name":"web","resource":"serviceaccounts"},"requestObject":{"verb":"get"},"requestReceivedTimestamp":"2026-11-22T10:00:00.000000Z","stage":"ResponseComplete","verb":"patch"}`, 1},
		"a body that names another objectRef":           {event("more", `"requestObject":{"objectRef":{"resource":"leases"},"verb":"get"},`), 1},
		"a body before the objectRef, with a verb":      {strings.Replace(event(), `"requestURI"`, `"requestObject":{"verb":"get","objectRef":{"resource":"leases"}},"requestURI"`, 1), 1},
		"a list in one line":                            {`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[` + event() + `,` + event("auditID", `"b"`) + `]}`, 2},
		"two events whose end of line was lost":         {event() + event("auditID", `"b"`), 2},
		"an aggregated API server's event beside ours":  {event() + "\n" + event("annotations", `{"policies.validate.saguard.io/decision":"Allow"}`), 2},
		"the same request in two stages":                {event("stage", `"ResponseStarted"`) + "\n" + event(), 1},
		"an audit ID that the client chose twice":       {event() + "\n" + event("time", `"2026-11-22T10:00:00.000001Z"`) + "\n" + event("verb", `"update"`), 3},
		"another webhook's annotation is no decision":   {event() + "\n" + event("annotations", `{"evil.example.com/decision":"Allow"}`), 1},
		"an event of an API version that is not known":  {event("apiVersion", `"audit.k8s.io/v2"`), 0},
		"an event without an audit ID":                  {event("auditID", `""`), 0},
		"an event without a time":                       {event("time", `null`), 0},
		"a custom resource of the same name as a field": {event("objectRef", ref("objectref", "")), 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, stats := read(t, tc.line+"\n")
			if len(got) != tc.want {
				t.Errorf("got %d entries, want %d; %+v", len(got), tc.want, stats)
			}
			for _, e := range got {
				if (e.Event == nil) == (e.Record == nil) {
					t.Errorf("%+v is not exactly one of event and record", e)
				}
			}
		})
	}
}

func TestDamageIsCountedAndNothingElseIsLost(t *testing.T) {
	good := func(n int) string { return event("auditID", fmt.Sprintf(`"%d"`, n)) }
	whole := good(2)
	for name, tc := range map[string]struct {
		damage string
		count  func(auditlog.Stats) int64
	}{
		"garbage":                         {"\x00\xff garbage\n", func(s auditlog.Stats) int64 { return s.Malformed }},
		"a line cut off":                  {whole[:len(whole)-20] + "\n", func(s auditlog.Stats) int64 { return s.Malformed }},
		"a line in another":               {whole[:300] + good(7) + whole[300:] + "\n", func(s auditlog.Stats) int64 { return s.Malformed }},
		"a line that is far too long":     {`{"pad":"` + strings.Repeat("x", auditlog.MaxLine) + "\"}\n", func(s auditlog.Stats) int64 { return s.Oversize }},
		"a version nobody knows":          {event("apiVersion", `"audit.k8s.io/v3"`) + "\n", func(s auditlog.Stats) int64 { return s.UnknownVersion }},
		"a number where a text has to be": {event("verb", "7") + "\n", func(s auditlog.Stats) int64 { return s.Malformed }},
		"a copy":                          {good(1) + "\n", func(s auditlog.Stats) int64 { return s.Duplicates }},
	} {
		t.Run(name, func(t *testing.T) {
			got, stats := read(t, good(1)+"\n"+tc.damage+good(3)+"\n")
			var ids []string
			for _, e := range got {
				ids = append(ids, string(e.Event.AuditID))
			}
			if !slices.Equal(ids, []string{"1", "3"}) {
				t.Errorf("got events %v, want 1 and 3", ids)
			}
			if n := tc.count(stats); n != 1 {
				t.Errorf("counted %d, want 1: %+v", n, stats)
			}
		})
	}
}

func TestLastLineThatIsStillBeingWritten(t *testing.T) {
	whole := event()
	got, stats := read(t, event("auditID", `"1"`)+"\n"+whole[:100])
	if len(got) != 1 || stats.Incomplete != 1 || stats.Malformed != 0 {
		t.Errorf("got %d entries, %+v", len(got), stats)
	}
	if got, stats := read(t, whole); len(got) != 1 || stats.Incomplete != 0 {
		t.Errorf("a whole last line without its end: got %d entries, %+v", len(got), stats)
	}
}

func TestLongLinesAreRead(t *testing.T) {
	long := event("more", `"requestObject":{"metadata":{"name":"web"},"pad":"`+strings.Repeat("x", 10<<20)+`"},`)
	got, stats := read(t, long+"\n"+event("auditID", `"2"`)+"\n")
	if len(got) != 2 || stats.Oversize != 0 {
		t.Errorf("got %d entries, %+v", len(got), stats)
	}
}

func TestDocuments(t *testing.T) {
	list := "{\n \"kind\": \"EventList\",\n \"apiVersion\": \"audit.k8s.io/v1\",\n \"metadata\": {},\n \"items\": [\n" + event() + ",\n" + event("auditID", `"b"`) + "\n]}\n"
	for name, tc := range map[string]struct {
		log             string
		want, malformed int
	}{
		"a list over many lines": {list, 2, 0},
		"an array":               {"[\n" + event() + "]", 1, 0},
		"a list that is cut off": {list[:len(list)-40], 1, 1},
		"no list":                {"{\n\"items\": 7}", 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, stats := read(t, tc.log)
			if len(got) != tc.want || stats.Malformed != int64(tc.malformed) {
				t.Errorf("got %d entries, %+v", len(got), stats)
			}
		})
	}
}

func TestClockThatGoesBackwardsIsCounted(t *testing.T) {
	log := event("auditID", `"1"`) + "\n" + event("auditID", `"2"`, "time", `"2026-11-22T09:00:00.000000Z"`) + "\n" + event("auditID", `"3"`, "time", `"2026-11-22T08:59:50.000000Z"`) + "\n"
	if got, stats := read(t, log); len(got) != 3 || stats.Backwards != 1 {
		t.Errorf("got %d entries, %+v", len(got), stats)
	}
}

func TestSecretsAreForgotten(t *testing.T) {
	const hidden = "aGlkZGVu"
	body := `{"kind":"Secret","type":"kubernetes.io/service-account-token","metadata":{"name":"s","annotations":{"kubernetes.io/service-account.name":"web","x":"` + hidden + `"}},"data":{"token":"` + hidden + `"}}`
	for name, tc := range map[string]struct {
		line string
		want string // in the body
	}{
		"a token Secret":         {event("verb", `"create"`, "objectRef", ref("secrets", ""), "more", `"requestObject":`+body+`,"responseObject":`+body+`,`), `"kubernetes.io/service-account.name":"web"`},
		"a Secret of other type": {event("verb", `"create"`, "objectRef", ref("secrets", ""), "more", `"requestObject":`+strings.Replace(body, "service-account-token", "tls", 1)+`,`), ""},
		"a patch of a Secret":    {event("objectRef", ref("secrets", ""), "more", `"requestObject":[{"op":"add","path":"/data/token","value":"`+hidden+`"}],`), ""},
		"a token":                {event("verb", `"create"`, "objectRef", ref("serviceaccounts", "token"), "more", `"responseObject":{"status":{"token":"`+hidden+`"}},`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := read(t, tc.line)
			if len(got) != 1 {
				t.Fatalf("got %d entries", len(got))
			}
			e := got[0].Event
			all := ""
			if e.RequestObject != nil {
				all += string(e.RequestObject.Raw)
			}
			if e.ResponseObject != nil {
				all += string(e.ResponseObject.Raw)
			}
			if strings.Contains(all, hidden) || !strings.Contains(all, tc.want) {
				t.Errorf("what is left: %s", all)
			}
		})
	}
}

func TestErrorsOfTheReceiverEndTheRead(t *testing.T) {
	stop := errors.New("enough")
	for name, log := range map[string]string{"lines": event() + "\n" + event("auditID", `"2"`), "a document": "[\n" + event() + "," + event("auditID", `"2"`) + "]"} {
		r := auditlog.NewReader(auditlog.Guarded())
		n := 0
		err := r.Read(t.Context(), "x", strings.NewReader(log), func(*auditlog.Entry) error { n++; return stop })
		if !errors.Is(err, stop) || n != 1 {
			t.Errorf("%s: error %v after %d entries", name, err, n)
		}
	}
}
