package main

import (
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/client"
)

func set(k client.KeysAPI, tag, key, value string, options *client.SetOptions) *client.Response {
	r, err := k.Set(background, key, value, options)
	return show(tag, r, err)
}

func get(k client.KeysAPI, tag, key string, options *client.GetOptions) *client.Response {
	r, err := k.Get(background, key, options)
	return show(tag, r, err)
}

func remove(k client.KeysAPI, tag, key string, options *client.DeleteOptions) {
	r, err := k.Delete(background, key, options)
	show(tag, r, err)
}

func inOrder(k client.KeysAPI, tag, directory string, options *client.CreateInOrderOptions) {
	r, err := k.CreateInOrder(background, directory, "v", options)
	show(tag, r, err)
}

func checkKeys(k client.KeysAPI) {
	get(k, "get missing", "/nope", nil)
	set(k, "set", "/a", "1", nil)
	set(k, "set again", "/a", "2", nil)
	get(k, "get", "/a", nil)
	get(k, "get quorum", "/a", &client.GetOptions{Quorum: true})
	get(k, "get root", "/", nil)
	set(k, "odd", "/x y/ü?#%25+", "a b\n\x00\xff&=", nil)
	get(k, "odd get", "/x y/ü?#%25+", nil)
	set(k, "trailing slash", "/ts/", "v", nil)
	set(k, "double slash", "//ds//x", "v", nil)
	set(k, "big", "/big", strings.Repeat("x", 1<<20), nil)
	set(k, "root", "/", "v", nil)
	set(k, "hidden", "/h/_x", "v", nil)
	get(k, "hidden dir", "/h", &client.GetOptions{Recursive: true})

	r, err := k.Create(background, "/cr", "1")
	show("create", r, err)
	r, err = k.Create(background, "/cr", "1")
	show("create existing", r, err)
	r, err = k.Update(background, "/cr", "2")
	show("update", r, err)
	r, err = k.Update(background, "/none", "2")
	show("update missing", r, err)
	set(k, "below file", "/cr/x", "v", nil)

	inOrder(k, "in order", "/q", nil)
	inOrder(k, "in order again", "/q", nil)
	inOrder(k, "in order ttl", "/q", &client.CreateInOrderOptions{TTL: 90 * time.Second})
	inOrder(k, "in order on file", "/a", nil)
	inOrder(k, "in order at root", "/", nil)
	get(k, "sorted", "/q", &client.GetOptions{Sort: true, Recursive: true})
}

func checkConditions(k client.KeysAPI) {
	set(k, "prevValue", "/a", "3", &client.SetOptions{PrevValue: "2"})
	set(k, "prevValue bad", "/a", "3", &client.SetOptions{PrevValue: "2"})
	set(k, "prevIndex bad", "/a", "3", &client.SetOptions{PrevIndex: 1})
	set(k, "both bad", "/a", "3", &client.SetOptions{PrevIndex: 1, PrevValue: "no"})
	now := get(k, "a", "/a", nil).Node.ModifiedIndex
	set(k, "prevIndex", "/a", "4", &client.SetOptions{PrevIndex: now})
	set(k, "prevExist true", "/a", "5", &client.SetOptions{PrevExist: client.PrevExist})
	set(k, "prevExist false", "/a", "5", &client.SetOptions{PrevExist: client.PrevNoExist})
	set(k, "prevExist+prevValue", "/a", "6", &client.SetOptions{PrevExist: client.PrevExist, PrevValue: "5"})
	set(k, "prevNoExist+prevValue", "/a", "7", &client.SetOptions{PrevExist: client.PrevNoExist, PrevValue: "6"})
	set(k, "prevValue missing", "/zz", "7", &client.SetOptions{PrevValue: "6"})
	set(k, "noValue", "/a", "8", &client.SetOptions{NoValueOnSuccess: true})
	set(k, "noValue cas", "/a", "9", &client.SetOptions{NoValueOnSuccess: true, PrevValue: "8"})
	set(k, "noValue create", "/nv", "9", &client.SetOptions{NoValueOnSuccess: true, PrevExist: client.PrevNoExist})
	set(k, "noValue bad", "/a", "9", &client.SetOptions{NoValueOnSuccess: true, PrevValue: "x"})
}

func checkLifetimes(k client.KeysAPI) {
	refresh := &client.SetOptions{TTL: 200 * time.Second, Refresh: true, PrevExist: client.PrevExist}
	set(k, "ttl", "/t", "v", &client.SetOptions{TTL: 100 * time.Second})
	set(k, "refresh", "/t", "", refresh)
	set(k, "refresh+value", "/t", "x", refresh)
	set(k, "refresh missing", "/t0", "", refresh)
	for _, short := range []time.Duration{1500 * time.Millisecond, time.Millisecond} {
		key := fmt.Sprint("/", short)
		created := set(k, "ttl "+short.String(), key, "v", &client.SetOptions{TTL: short}).Node.ModifiedIndex
		showExpiry(k, key, created)
	}
}

// Waits until the key is gone, so that its removal has the same index with every server.
func showExpiry(k client.KeysAPI, key string, created uint64) {
	limited, cancel := within(10 * time.Second)
	defer cancel()
	r, err := k.Watcher(key, &client.WatcherOptions{AfterIndex: created}).Next(limited)
	if err != nil {
		say("expiry", "!", failure(err))
		return
	}
	say("expiry", r.Action, r.Node.Key, index(r.Node.ModifiedIndex))
}

func checkDirectories(k client.KeysAPI) {
	set(k, "dir", "/d", "", &client.SetOptions{Dir: true})
	set(k, "dir again", "/d", "", &client.SetOptions{Dir: true})
	set(k, "dir create again", "/d", "", &client.SetOptions{Dir: true, PrevExist: client.PrevNoExist})
	set(k, "dir ttl", "/d", "", &client.SetOptions{Dir: true, TTL: 50 * time.Second, PrevExist: client.PrevExist})
	set(k, "dir refresh", "/d", "", &client.SetOptions{
		Dir: true, TTL: 70 * time.Second, PrevExist: client.PrevExist, Refresh: true,
	})
	set(k, "dir over file", "/a", "", &client.SetOptions{Dir: true})
	set(k, "file over dir", "/q", "v", nil)
}

func checkDeletes(k, prefixed client.KeysAPI) {
	remove(k, "del", "/cr", nil)
	remove(k, "del missing", "/cr", nil)
	remove(k, "del dir", "/q", nil)
	remove(k, "del dir nonempty", "/q", &client.DeleteOptions{Dir: true})
	remove(k, "del prevValue on dir", "/q", &client.DeleteOptions{PrevValue: "x"})
	remove(k, "del recursive", "/q", &client.DeleteOptions{Recursive: true})
	remove(k, "del root", "/", &client.DeleteOptions{Recursive: true, Dir: true})
	set(k, "c", "/c", "1", nil)
	remove(k, "cad bad", "/c", &client.DeleteOptions{PrevValue: "2"})
	remove(k, "cad index bad", "/c", &client.DeleteOptions{PrevIndex: 2})
	remove(k, "cad", "/c", &client.DeleteOptions{PrevValue: "1"})
	set(prefixed, "prefix", "/x", "y", nil)
}
