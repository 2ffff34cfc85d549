package main

import (
	"net/http"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/client"
)

// The longest that a write may be refused after the leader's end: a request's own limit and an election, twice.
const failoverLimit = 20 * time.Second

// Tells the script that started the members to do this to one of them.
func control(verb, clientURL string) {
	parts := strings.Split(clientURL, ":")
	response, err := http.Get(os.Getenv("CONTROL") + "/" + verb + "/" + parts[len(parts)-1])
	must(err)
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		panic(response.Status)
	}
}

// Watches and writes while the leader is stopped (TERM) or killed (KILL).
func checkFailover(c client.Client, signal string) {
	k := client.NewKeysAPI(c)
	begin, err := k.Set(background, "/ha", "before", nil)
	must(err)
	seen := watchUntilEnd(k.Watcher("/ha", &client.WatcherOptions{AfterIndex: begin.Node.ModifiedIndex}))
	waitForWatch()
	leader, err := client.NewMembersAPI(c).Leader(background)
	must(err)
	control(signal, leader.ClientURLs[0])
	for _, value := range []string{"after", "end"} {
		say("set", value, "after", signal, setWithin(k, value))
	}
	say("watch over", signal, <-seen)
	control("START", leader.ClientURLs[0])
}

func setWithin(k client.KeysAPI, value string) error {
	end := time.Now().Add(failoverLimit)
	for {
		_, err := k.Set(background, "/ha", value, nil)
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// The values that the watch saw, each once: a write that was tried again may have been executed twice.
func watchUntilEnd(w client.Watcher) <-chan []string {
	result := make(chan []string)
	go func() {
		var seen []string
		for len(seen) == 0 || seen[len(seen)-1] != "end" {
			limited, cancel := within(2 * failoverLimit)
			r, err := w.Next(limited)
			cancel()
			if err != nil {
				seen = append(seen, failure(err))
				break
			}
			if len(seen) == 0 || seen[len(seen)-1] != r.Node.Value {
				seen = append(seen, r.Node.Value)
			}
		}
		result <- seen
	}()
	return result
}
