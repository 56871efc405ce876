package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/nodeapi"
)

const defaultSocket = "/run/saguard/agent.sock"

// newRoot returns the commands; getenv gives defaults of flags.
func newRoot(getenv func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use: "saguard-agent", Short: "Enforces network policy on this node", Version: version,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newRun(getenv), newStatus(), newExplain(), newCleanup())
	return root
}

func newRun(getenv func(string) string) *cobra.Command {
	o := &options{}
	c := &cobra.Command{
		Use: "run", Short: "Keep the kernel equal to the policies of the cluster until told to stop; the rules then stay in force", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.complete(); err != nil {
				return err
			}
			return run(c.Context(), o)
		},
	}
	o.add(c.Flags(), getenv)
	return c
}

// local are the flags of commands that ask the agent of this node.
type local struct {
	socket string
	json   bool
}

func (l *local) add(c *cobra.Command) {
	c.Flags().StringVar(&l.socket, "socket", defaultSocket, "Socket of the agent on this node.")
	c.Flags().BoolVar(&l.json, "json", false, "Print JSON.")
}

// print writes v as JSON, or as text by render.
func (l *local) print(c *cobra.Command, v any, render func(io.Writer) error) error {
	if !l.json {
		return render(c.OutOrStdout())
	}
	e := json.NewEncoder(c.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func newStatus() *cobra.Command {
	var l local
	c := &cobra.Command{
		Use: "status", Short: "Say how this node is enforced; exit code 1 if it is not as the API server's objects say", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := nodeapi.NewClient(l.socket).Status(c.Context())
			if err != nil {
				return err
			}
			if err := l.print(c, s, func(w io.Writer) error { return s.Render(w, time.Now()) }); err != nil {
				return err
			}
			if s.WhyNotReady != "" {
				return fmt.Errorf("not enforced as the API server's objects say: %s", s.WhyNotReady)
			}
			return nil
		},
	}
	l.add(c)
	return c
}

func newExplain() *cobra.Command {
	var l local
	var q nodeapi.Question
	c := &cobra.Command{
		Use: "explain --from POD|ADDRESS --to POD|ADDRESS --protocol TCP --port 80", Args: cobra.NoArgs,
		Short: "Say what this node's kernel does with a new connection, and why",
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := nodeapi.NewClient(l.socket).Explain(c.Context(), q)
			if err != nil {
				return err
			}
			return l.print(c, a, a.Render)
		},
	}
	l.add(c)
	f := c.Flags()
	f.StringVar(&q.From, "from", "", "Who opens the connection: namespace/pod or an address.")
	f.StringVar(&q.To, "to", "", "Who accepts it: namespace/pod or an address, after service translation.")
	f.StringVar(&q.Protocol, "protocol", "TCP", "TCP, UDP, SCTP, UDPLite, ICMP, ICMPv6 or a number.")
	f.Uint16Var(&q.Port, "port", 0, "Destination port.")
	f.Uint16Var(&q.SourcePort, "source-port", 0, "Source port.")
	f.Uint8Var(&q.ICMPType, "icmp-type", 0, "ICMP type.")
	f.Uint8Var(&q.ICMPCode, "icmp-code", 0, "ICMP code.")
	f.Uint8Var(&q.IPVersion, "ip-version", 0, "4 or 6, for pods that have addresses of both; 0 takes the first that both ends have.")
	for _, name := range []string{"from", "to"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // a flag that is not there: a mistake of this file
		}
	}
	return c
}

// errRunning says that cleanup would be undone at once.
var errRunning = errors.New("the agent is running here and would put the rules back: stop it first, or say --force")

func newCleanup() *cobra.Command {
	var force, wait bool
	var socket string
	b := &backends{}
	c := &cobra.Command{
		Use: "cleanup", Short: "Remove from this node's kernel all rules of all backends: from then on nothing is denied", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !force {
				if _, err := nodeapi.NewClient(socket).Status(c.Context()); err == nil {
					return errRunning
				}
			}
			var errs []error
			for _, candidate := range b.all() {
				if err := enforce.Remove(c.Context(), candidate); err != nil {
					errs = append(errs, err)
					continue
				}
				c.Printf("%s: nothing left\n", candidate.Name)
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			if wait {
				<-c.Context().Done()
			}
			return nil
		},
	}
	b.add(c.Flags())
	c.Flags().BoolVar(&force, "force", false, "Remove even while the agent is running.")
	c.Flags().BoolVar(&wait, "wait", false, "Once everything is removed, stay until told to stop, as a DaemonSet's pod has to.")
	c.Flags().StringVar(&socket, "socket", defaultSocket, "Socket of the agent on this node.")
	return c
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
