package main

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client"
)

// A member's id in hexadecimal, without zeros in front.
func isID(text string) bool {
	id, err := strconv.ParseUint(text, 16, 64)
	return err == nil && id > 0
}

func checkMembers(c client.Client) {
	version, err := c.GetVersion(background)
	say("version", err, version != nil && version.Server != "")
	m := client.NewMembersAPI(c)
	all, err := m.List(background)
	must(err)
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	for _, one := range all {
		say("member", isID(one.ID), one.Name, anonymous(fmt.Sprint(one.PeerURLs, one.ClientURLs)))
	}
	leader, err := m.Leader(background)
	say("leader", err, leader != nil && leader.ID != "")

	own := all[0]
	_, err = m.Add(background, own.PeerURLs[0])
	// For a while after their start members of etcd 3.4 take their cluster for an unhealthy one.
	for tries := 0; tries < 20 && err != nil && strings.Contains(err.Error(), "no leader"); tries++ {
		time.Sleep(500 * time.Millisecond)
		_, err = m.Add(background, own.PeerURLs[0])
	}
	showError("add existing", err)
	_, err = m.Add(background, "foo")
	showError("add bad", err)
	_, err = m.Add(background, "http://127.0.0.1")
	showError("add no port", err)
	showError("remove unknown", m.Remove(background, "123456789"))
	showError("remove bad id", m.Remove(background, "xyz"))
	showError("update unknown", m.Update(background, "123456789", []string{"http://127.0.0.1:9"}))
	showError("update bad url", m.Update(background, own.ID, []string{"bar"}))
	if len(all) > 1 {
		showError("update to another's", m.Update(background, own.ID, all[1].PeerURLs))
	}
	showError("update same", m.Update(background, own.ID, own.PeerURLs))

	err = c.Sync(background)
	say("sync", err, len(c.Endpoints()))
	limited, cancel := within(500 * time.Millisecond)
	defer cancel()
	say("autosync", c.AutoSync(limited, 100*time.Millisecond))
}

// How the client chooses among members. Nobody listens on ports 1 and 2.
func checkEndpoints() {
	leaderFirst := connect(client.Config{
		Endpoints:               endpoints,
		SelectionMode:           client.EndpointSelectionPrioritizeLeader,
		HeaderTimeoutPerRequest: 3 * time.Second,
	})
	say("prioritize leader sync", leaderFirst.Sync(background), len(leaderFirst.Endpoints()))
	set(client.NewKeysAPI(leaderFirst), "prioritize leader", "/pl", "1", nil)

	oneDead := connect(client.Config{Endpoints: append([]string{"http://127.0.0.1:1"}, endpoints...)})
	for i := 0; i < 4; i++ {
		get(client.NewKeysAPI(oneDead), "one dead", "/pl", &client.GetOptions{Quorum: true})
	}
	allDead := connect(client.Config{Endpoints: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}})
	get(client.NewKeysAPI(allDead), "all dead", "/zero", nil)
}

func checkAuth(c client.Client) {
	users, roles, all := client.NewAuthUserAPI(c), client.NewAuthRoleAPI(c), client.NewAuthAPI(c)
	_, err := users.ListUsers(background)
	showError("auth list users", err)
	_, err = users.GetUser(background, "root")
	showError("auth get user", err)
	showError("auth disable", all.Disable(background))
	showError("auth enable", all.Enable(background))
	_, err = roles.ListRoles(background)
	showError("auth list roles", err)
	_, err = roles.GetRole(background, "guest")
	showError("auth get role", err)
	showError("auth add user", users.AddUser(background, "joe", "x"))

	withPassword := connect(client.Config{Endpoints: endpoints, Username: "root", Password: "x"})
	r, err := client.NewKeysAPI(withPassword).Get(background, "/zero", nil)
	must(err)
	say("basic auth while it is off", r.Node.Value)
}
