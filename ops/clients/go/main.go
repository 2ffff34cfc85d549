// Go's v2 client (go.etcd.io/etcd/client, which confd, fleet, flannel and vulcand use) against a v2 server. Prints a transcript.
//
// Usage: go_client URL..., with members that ../go_client.py started. CONTROL is the URL at which it ends members and starts them again.
// INDICES=hidden leaves out indices, which in a cluster depend on what else was written.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.etcd.io/etcd/client"
)

// The members' client URLs.
var endpoints = os.Args[1:]

var background = context.Background()

func main() {
	c := connect(client.Config{Endpoints: endpoints, HeaderTimeoutPerRequest: 5 * time.Second})
	k := client.NewKeysAPI(c)
	zero, err := k.Set(background, "/zero", "0", nil)
	must(err)
	firstIndex = zero.Node.ModifiedIndex
	checkKeys(k)
	checkConditions(k)
	checkLifetimes(k)
	checkDirectories(k)
	checkDeletes(k, client.NewKeysAPIWithPrefix(c, "/v2/keys/prefix"))
	checkWatches(k)
	checkMembers(c)
	checkEndpoints()
	if len(endpoints) > 1 {
		checkFailover(c, "TERM")
		checkFailover(c, "KILL")
	}
	// Last, because users are commands, too, where there are users.
	checkAuth(c)
}

func connect(config client.Config) client.Client {
	c, err := client.New(config)
	must(err)
	return c
}

// Ends the run where going on makes no sense.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// A context that ends by itself.
func within(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(background, limit)
}

func say(words ...interface{}) {
	fmt.Println(words...)
}
