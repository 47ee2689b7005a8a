// The Go SDK against the simulator: everything a trading program does with it. Run by tests/conformance/run.py.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

// A check is a name and what must hold; it gives up by panicking with a failure.
type check struct {
	name string
	run  func()
}

type failure struct{ expected, got string }

func main() {
	checks := concat(orderChecks, classChecks, holdingChecks, refusalChecks, updateChecks, historyChecks, dataChecks)
	for _, c := range checks {
		fmt.Printf("plan\t%s\n", c.name)
	}
	beginData()
	for _, c := range checks {
		if why := attempt(c.run); why != "" {
			fmt.Printf("failed\t%s\t%s\n", c.name, strings.Join(strings.Fields(why), " "))
		} else {
			fmt.Printf("ok\t%s\n", c.name)
		}
	}
}

func concat(lists ...[]check) (all []check) {
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

func attempt(run func()) (why string) {
	defer func() {
		switch problem := recover().(type) {
		case nil:
		case failure:
			why = fmt.Sprintf("expected %s, got %s", problem.expected, problem.got)
		default:
			why = fmt.Sprintf("expected no panic, got %v", problem)
			fmt.Println(string(debug.Stack()))
		}
	}()
	run()
	return ""
}

func fail(expected, got any) {
	panic(failure{fmt.Sprint(expected), fmt.Sprintf("%+v", got)})
}

func equal[T comparable](got, expected T, what string) {
	if got != expected {
		fail(fmt.Sprintf("%s %v", what, expected), got)
	}
}

func holds(it bool, what string, got any) {
	if !it {
		fail(what, got)
	}
}

// must gives the value of a call that must not fail.
func must[T any](value T, err error) T {
	done(err)
	return value
}

func done(err error) {
	if err != nil {
		fail("no error", err)
	}
}

// eventually waits until probe gives a value, and gives that.
func eventually[T any](what string, probe func() (T, bool)) T {
	const limit = 20 * time.Second
	until := time.Now().Add(limit)
	for {
		value, ok := probe()
		if ok {
			return value
		}
		if time.Now().After(until) {
			fail(fmt.Sprintf("%s within %v", what, limit), value)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func env(name string) string {
	value := os.Getenv(name)
	if value == "" {
		fmt.Println("missing in the environment:", name)
		os.Exit(2)
	}
	return value
}
