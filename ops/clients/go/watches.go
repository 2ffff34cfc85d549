package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"go.etcd.io/etcd/client"
)

// More than the 1000 events that etcd remembers.
const (
	fill        = 1200
	fillWriters = 10
)

func next(tag string, w client.Watcher, limit time.Duration) {
	limited, cancel := within(limit)
	defer cancel()
	r, err := w.Next(limited)
	show(tag, r, err)
}

// The event without the index that the store had when the watch began, which depends on who was faster.
func nextEvent(tag string, w client.Watcher) {
	limited, cancel := within(10 * time.Second)
	defer cancel()
	r, err := w.Next(limited)
	if err != nil {
		say(tag, "!", failure(err))
		return
	}
	say(tag, "=", r.Action, anonymous(node(r.Node)), "previous", anonymous(node(r.PrevNode)))
}

// Changes something when a watch has reached one of the members.
func later(change func()) {
	go func() {
		waitForWatch()
		change()
	}()
}

func waitForWatch() {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, endpoint := range endpoints {
			if watchers(endpoint) > 0 {
				return
			}
		}
	}
	panic("no watch arrives")
}

func watchers(endpoint string) uint64 {
	response, err := http.Get(endpoint + "/v2/stats/store")
	must(err)
	defer response.Body.Close()
	var statistics struct{ Watchers uint64 }
	must(json.NewDecoder(response.Body).Decode(&statistics))
	return statistics.Watchers
}

func checkWatches(k client.KeysAPI) {
	begin := set(k, "w0", "/w/a", "0", nil).Node.ModifiedIndex
	set(k, "w1", "/w/a", "1", nil)
	set(k, "w2", "/w/b", "2", &client.SetOptions{TTL: time.Second})
	w := k.Watcher("/w", &client.WatcherOptions{AfterIndex: begin, Recursive: true})
	for i := 0; i < 3; i++ {
		nextEvent("watch", w)
	}
	later(func() { k.Delete(background, "/w", &client.DeleteOptions{Recursive: true}) })
	nextEvent("watch live", w)
	w = k.Watcher("/w/a", nil)
	later(func() { k.Set(background, "/w/a", "again", nil) })
	nextEvent("watch from now", w)
	next("watch times out", w, 300*time.Millisecond)
	cancelled, cancel := context.WithCancel(background)
	cancel()
	r, err := w.Next(cancelled)
	show("watch cancelled", r, err)
	future := &client.WatcherOptions{AfterIndex: firstIndex + 100000}
	next("watch future", k.Watcher("/w/a", future), 300*time.Millisecond)

	fillHistory(k)
	r, err = k.Watcher("/fill", &client.WatcherOptions{AfterIndex: 1}).Next(background)
	if err == nil {
		say("watch cleared", r.Action)
	} else {
		say("watch cleared", "!", err.(client.Error).Code)
	}
}

func fillHistory(k client.KeysAPI) {
	done := make(chan error)
	for writer := 0; writer < fillWriters; writer++ {
		go func(writer int) {
			var err error
			for i := writer; i < fill && err == nil; i += fillWriters {
				_, err = k.Set(background, "/fill", fmt.Sprint(i), nil)
			}
			done <- err
		}(writer)
	}
	for writer := 0; writer < fillWriters; writer++ {
		must(<-done)
	}
}
