package main

import (
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"

	"go.etcd.io/etcd/client"
)

// Indices are shown as distances from this one, because members use up some before.
var firstIndex uint64

var hideIndices = os.Getenv("INDICES") == "hidden"

// What differs from run to run.
var (
	port       = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	inOrderKey = regexp.MustCompile(`\d{20}`)
	comparison = regexp.MustCompile(`\[(\d+) != \d+\]`)
)

func anonymous(text string) string {
	text = port.ReplaceAllString(text, "127.0.0.1:P")
	text = inOrderKey.ReplaceAllString(text, "N")
	if hideIndices {
		text = comparison.ReplaceAllString(text, "[$1 != N]")
	}
	return text
}

func index(i uint64) string {
	if hideIndices {
		return "N"
	}
	return fmt.Sprintf("%+d", int64(i)-int64(firstIndex))
}

// Rounded up to tens, so that it is the same some seconds later.
func lasting(ttl int64) int64 {
	return (ttl + 9) / 10 * 10
}

func node(n *client.Node) string {
	if n == nil {
		return "nil"
	}
	value := n.Value
	if len(value) > 40 {
		value = fmt.Sprintf("%d bytes", len(value))
	}
	text := fmt.Sprintf("{%s dir=%v %q created %s modified %s expires=%v ttl=%d",
		n.Key, n.Dir, value, index(n.CreatedIndex), index(n.ModifiedIndex), n.Expiration != nil, lasting(n.TTL))
	sort.Sort(n.Nodes)
	for _, child := range n.Nodes {
		text += " " + node(child)
	}
	return text + "}"
}

func failure(err error) string {
	switch e := err.(type) {
	case client.Error:
		return fmt.Sprintf("client.Error code=%d msg=%q cause=%q index=%s", e.Code, e.Message, anonymous(e.Cause), index(e.Index))
	case *client.ClusterError:
		// Members are asked in a random order.
		var all []string
		for _, one := range e.Errors {
			all = append(all, fmt.Sprintf("%T %s", one, anonymous(one.Error())))
		}
		sort.Strings(all)
		return "ClusterError " + strings.Join(all, "; ")
	}
	return fmt.Sprintf("%T %q", err, anonymous(err.Error()))
}

// A line with the response or the error; gives the response on, which is nil after an error.
func show(tag string, r *client.Response, err error) *client.Response {
	if err != nil {
		say(tag, "!", failure(err))
		return nil
	}
	text := fmt.Sprintf("%s %s previous %s index %s", r.Action, node(r.Node), node(r.PrevNode), index(r.Index))
	say(tag, "=", anonymous(text), "cluster", r.ClusterID != "")
	return r
}

// A line about a call that gives nothing but an error.
func showError(tag string, err error) {
	if err == nil {
		say(tag, "= ok")
		return
	}
	say(tag, "!", failure(err))
}
