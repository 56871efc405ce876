package main

import (
	"errors"
	"strings"
)

const namespace = "prod"

const guardYAML = `apiVersion: saguard.io/v1alpha1
kind: ServiceAccountGuard
metadata:
  name: roles
spec:
  labels:
    mode: Enforce
    keys: [role]
`

// story is the third example of Calico's page on service accounts in policy: network policy trusts the label "role" of
// service accounts, so who may assign it decides who reaches what. Developers must not; security may.
//
// The packets come last, where there are nodes; without says why there are none.
func story(s *stage, without string) error {
	admin, err := s.person("admin", "system:masters")
	if err != nil {
		return err
	}
	alice, err := s.person("alice", "developers")
	if err != nil {
		return err
	}
	sam, err := s.person("sam", "security")
	if err != nil {
		return err
	}
	if err := errors.Join(prologue(s, admin, alice, sam), developer(s, alice), security(s, admin, alice, sam), epilogue(s, alice, sam)); err != nil {
		return err
	}
	if without != "" {
		s.chapter("Packets between pods: left out, this machine cannot run nodes: " + without)
		return nil
	}
	return packets(s, admin, alice, sam)
}

func prologue(s *stage, admin, alice, sam person) error {
	s.chapter("A platform team sets the stage")
	return steps(
		func() error { return s.expect(admin, "ok", "create", "namespace", namespace) },
		func() error { return s.expect(admin, "ok", "create", "serviceaccount", "intern-job", "-n", namespace) },
		func() error {
			return s.expect(admin, "ok", "label", "serviceaccount", "intern-job", "role=intern", "-n", namespace)
		},
		func() error {
			s.say("Developers, and security, may edit service accounts: plain RBAC, which cannot tell one label from another.")
			return s.expect(admin, "ok", "create", "role", "accounts", "--verb=get,list,create,update,patch,delete", "--resource=serviceaccounts", "-n", namespace)
		},
		func() error {
			return s.expect(admin, "ok", "create", "rolebinding", "accounts", "--role=accounts", "--group=developers", "--group=security", "-n", namespace)
		},
		func() error {
			s.say("One guard makes the label role count: from now on RBAC decides, label by label.")
			return s.expectStdin(admin, "ok", guardYAML, "apply", "-f", "-")
		},
		func() error {
			s.say("Security may use every value of it. kubectl saguard prints the RBAC, kubectl applies it.")
			text, err := s.saguard(admin, "grant", "use", "label", "role=*", "-n", namespace, "--group", "security")
			if err != nil {
				return err
			}
			return s.expectStdin(admin, "ok", strings.TrimRight(text, "\n"), "apply", "-f", "-")
		},
		func() error {
			return s.until(sam, "create", "serviceaccount", "probe", "-n", namespace, "--dry-run=server")
		},
		func() error {
			return s.until(alice, "create", "serviceaccount", "probe", "-n", namespace, "--dry-run=server")
		},
		func() error {
			return s.until(sam, "label", "serviceaccount", "intern-job", "role=trusted", "--overwrite", "-n", namespace, "--dry-run=server")
		},
	)
}

func developer(s *stage, alice person) error {
	const refused = `denied the request: you may not`
	s.chapter("Alice, a developer, works with her service accounts")
	return steps(
		func() error { return s.expect(alice, "ok", "create", "serviceaccount", "web", "-n", namespace) },
		func() error {
			return s.expect(alice, "ok", "label", "serviceaccount", "web", "app=web", "-n", namespace)
		},
		func() error {
			return s.expect(alice, "ok", "annotate", "serviceaccount", "web", "owner=alice", "-n", namespace)
		},
		func() error {
			s.say("She cannot give one the label that policy trusts,")
			return s.expect(alice, refused+" put label role=trusted", "label", "serviceaccount", "web", "role=trusted", "-n", namespace)
		},
		func() error {
			s.say("nor create one with it,")
			return s.expectStdin(alice, refused+" put label role=trusted", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: sneaky, namespace: prod, labels: {role: trusted}}\n", "create", "-f", "-")
		},
		func() error {
			s.say("nor take role=intern off the account that it restricts,")
			return s.expect(alice, refused+" take label role=intern", "label", "serviceaccount", "intern-job", "role-", "-n", namespace)
		},
		func() error {
			s.say("nor delete that account to create it again without the label.")
			return s.expect(alice, refused+" take label role=intern", "delete", "serviceaccount", "intern-job", "-n", namespace)
		},
		func() error {
			s.say("The line that the denial names tells her the same beforehand:")
			return s.expect(alice, "no", "auth", "can-i", "use", "serviceaccounts/role=trusted", "--subresource=labels", "-n", namespace)
		},
	)
}

func security(s *stage, admin, alice, sam person) error {
	s.chapter("Sam, of security, may")
	return steps(
		func() error {
			return s.expect(sam, "ok", "label", "serviceaccount", "web", "role=trusted", "-n", namespace)
		},
		func() error {
			return s.expect(sam, "ok", "label", "serviceaccount", "intern-job", "role=contractor", "--overwrite", "-n", namespace)
		},
		func() error {
			s.say("Who put the label is written on the account, by saguard alone:")
			return s.expect(alice, "ok", "get", "serviceaccount", "web", "-n", namespace, "-o", `jsonpath={.metadata.annotations.saguard\.io/labelled-by}{"\n"}`)
		},
		func() error {
			s.say("Alice still edits what is not guarded, and still not the label.")
			return s.expect(alice, "ok", "label", "serviceaccount", "web", "app=shop", "--overwrite", "-n", namespace)
		},
		func() error {
			return s.expect(alice, "take label role=trusted", "label", "serviceaccount", "web", "role-", "-n", namespace)
		},
		func() error {
			_, err := s.saguard(admin, "who-can", "use", "label", "role=trusted", "-n", namespace)
			return err
		},
	)
}

func epilogue(s *stage, alice, sam person) error {
	s.chapter("What the API server's audit log says, at level Metadata")
	return steps(
		func() error { return s.audit(alice) },
		func() error { return s.audit(sam) },
	)
}

func steps(all ...func() error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
