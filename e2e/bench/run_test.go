package bench_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// worker is one client with a service account of its own in every row's namespace.
type worker struct {
	rig    *rig
	client corev1client.CoreV1Interface
	name   string
	done   []int // PATCHes made, by row
}

func (r *rig) worker(name string) *worker {
	r.tb.Helper()
	w := &worker{rig: r, client: r.client(user), name: name, done: make([]int, len(r.rows))}
	for i, row := range r.rows {
		r.account(row, name)
		if row.op == changeValue { // so that every PATCH to come changes the value
			if _, err := w.patch(r.tb.Context(), i); err != nil {
				r.tb.Fatal(err)
			}
		}
	}
	return w
}

func (r *rig) workers(prefix string, n int) []*worker {
	r.tb.Helper()
	var out []*worker
	for i := range n {
		out = append(out, r.worker(fmt.Sprintf("%s-%d", prefix, i)))
	}
	return out
}

// patch makes the next PATCH of a row and times it at the client.
func (w *worker) patch(ctx context.Context, i int) (time.Duration, error) {
	row := &w.rig.rows[i]
	body := row.op.patch(w.done[i])
	began := time.Now()
	_, err := w.client.ServiceAccounts(row.namespace).Patch(ctx, w.name, types.MergePatchType, body, metav1.PatchOptions{})
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", row.name, err)
	}
	w.done[i]++
	return took, nil
}

// samples are times of PATCHes by row.
type samples [][]time.Duration

// takeTurns lets every worker make one PATCH of each row, in another order each round.
func (r *rig) takeTurns(workers []*worker, rounds int) samples {
	r.tb.Helper()
	each := make([]samples, len(workers))
	group, ctx := errgroup.WithContext(r.tb.Context())
	for n, w := range workers {
		each[n] = make(samples, len(r.rows))
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		group.Go(func() error {
			for range rounds {
				for _, i := range rng.Perm(len(r.rows)) {
					took, err := w.patch(ctx, i)
					if err != nil {
						return err
					}
					each[n][i] = append(each[n][i], took)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		r.tb.Fatal(err)
	}
	all := make(samples, len(r.rows))
	for _, s := range each {
		for i := range s {
			all[i] = append(all[i], s[i]...)
		}
	}
	return all
}

// usage is the CPU of the two webhooks' processes.
type usage struct{ ours, all time.Duration }

func (r *rig) usage() (u usage) {
	r.tb.Helper()
	var err error
	if u.ours, err = cpuTime(r.ours.pid); err == nil {
		u.all, err = cpuTime(r.all.pid)
	}
	if err != nil {
		r.tb.Fatal(err)
	}
	return u
}

// alone lets every worker make PATCHes of one row at a time, in turns, and returns the CPU that each webhook's process used a
// PATCH of that row.
func (r *rig) alone(workers []*worker, rows []int, turns, each int) []usage {
	r.tb.Helper()
	used := make([]usage, len(r.rows))
	for range turns {
		for _, i := range rows {
			before := r.usage()
			group, ctx := errgroup.WithContext(r.tb.Context())
			for _, w := range workers {
				group.Go(func() error {
					for range each {
						if _, err := w.patch(ctx, i); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err := group.Wait(); err != nil {
				r.tb.Fatal(err)
			}
			after := r.usage()
			used[i].ours += after.ours - before.ours
			used[i].all += after.all - before.all
		}
	}
	for i := range used {
		n := time.Duration(turns * each * len(workers))
		used[i] = usage{ours: used[i].ours / n, all: used[i].all / n}
	}
	return used
}

// madeBy returns the workers' PATCHes by row.
func (r *rig) madeBy(workers []*worker) []int {
	made := make([]int, len(r.rows))
	for _, w := range workers {
		for i, n := range w.done {
			made[i] += n
		}
	}
	return made
}

// during is what do adds to the workers' PATCHes.
func (r *rig) during(workers []*worker, do func()) []int {
	before := r.madeBy(workers)
	do()
	after := r.madeBy(workers)
	for i := range after {
		after[i] -= before[i]
	}
	return after
}
