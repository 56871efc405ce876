package main

import "testing"

func TestStalledConnectionsAreNoticedSoonUnlessTheEnvironmentSaysOtherwise(t *testing.T) {
	const idle, ping = "HTTP2_READ_IDLE_TIMEOUT_SECONDS", "HTTP2_PING_TIMEOUT_SECONDS"
	for name, tc := range map[string]struct{ env, want map[string]string }{
		"nothing is said":  {want: map[string]string{idle: "5", ping: "5"}},
		"one of both is":   {env: map[string]string{idle: "30"}, want: map[string]string{idle: "30", ping: "5"}},
		"it is turned off": {env: map[string]string{idle: "0", ping: "15"}, want: map[string]string{idle: "0", ping: "15"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{}
			for k, v := range tc.env {
				env[k] = v
			}
			err := noticeStalls(func(k string) string { return env[k] }, func(k, v string) error {
				env[k] = v
				return nil
			})
			if err != nil || env[idle] != tc.want[idle] || env[ping] != tc.want[ping] {
				t.Errorf("%v, %v", env, err)
			}
		})
	}
}
