//! `member list`, `add`, `remove` and `update`.

use super::Call;
use crate::client::{Member, check_peer_urls};
use crate::failed::Failed;
use crate::screen;
use crate::text::quote;

pub(super) fn list(call: &Call) -> Result<(), Failed> {
    call.no_words()?;
    let client = call.settings.connect()?;
    let deadline = call.settings.deadline();
    let members = client.members(deadline).map_err(Failed::bare)?;
    let leader = client
        .leader(deadline)
        .map_err(|error| Failed { text: format!("Failed to get leader:  {error}\n"), ..Failed::bare(error) })?;
    for Member { id, name, peer_urls, client_urls } in &members {
        let (peer_urls, client_urls) = (peer_urls.join(","), client_urls.join(","));
        if name.is_empty() {
            screen::say(format_args!("{id}[unstarted]: peerURLs={peer_urls}"));
        } else {
            let leads = *id == leader.id;
            screen::say(format_args!(
                "{id}: name={name} peerURLs={peer_urls} clientURLs={client_urls} isLeader={leads}"
            ));
        }
    }
    Ok(())
}

pub(super) fn add(call: &Call) -> Result<(), Failed> {
    let [name, url] = call.words.as_slice() else {
        return Err(Failed::said("Provide a name and a single member peerURL"));
    };
    let client = call.settings.connect()?;
    let deadline = call.settings.deadline();
    let urls = check_peer_urls(&[&**url]).map_err(Failed::said)?;
    let added = client.add_member(&urls, deadline).map_err(Failed::bare)?;
    screen::say(format_args!("Added member named {name} with ID {} to cluster", added.id));
    let mut cluster = Vec::new();
    for member in client.members(deadline).map_err(Failed::bare)? {
        let name = if member.id == added.id { &**name } else { &member.name };
        cluster.extend(member.peer_urls.iter().map(|url| format!("{name}={url}")));
    }
    screen::say(format_args!("\nETCD_NAME={}", quote(name)));
    screen::say(format_args!("ETCD_INITIAL_CLUSTER={}", quote(&cluster.join(","))));
    screen::say("ETCD_INITIAL_CLUSTER_STATE=\"existing\"");
    Ok(())
}

pub(super) fn remove(call: &Call) -> Result<(), Failed> {
    let id = call.only_word("Provide a single member ID")?;
    let client = call.settings.connect()?;
    let deadline = call.settings.deadline();
    let members = client.members(deadline).map_err(|error| Failed {
        text: format!("Error while verifying ID against known members: {error}\n"),
        ..Failed::bare(error)
    })?;
    for member in members.iter().filter(|member| member.name == id) {
        screen::complain(&format!(
            "Found a member named {id}; if this is correct, please use its ID, eg:\n\tetcdctl member remove {}\n\
             For more details, read the documentation at https://github.com/etcd-io/etcd/blob/master/Documentation/runtime-configuration.md#remove-a-member\n\n",
            member.id
        ));
    }
    if !members.iter().any(|member| member.id == id) {
        return Err(Failed::said(format!("Couldn't find a member in the cluster with an ID of {id}.")));
    }
    client.remove_member(id, deadline).map_err(|error| Failed {
        text: format!("Received an error trying to remove member {id}: {error}\n"),
        ..Failed::bare(error)
    })?;
    screen::say(format_args!("Removed member {id} from cluster"));
    Ok(())
}

pub(super) fn update(call: &Call) -> Result<(), Failed> {
    let [id, urls] = call.words.as_slice() else {
        return Err(Failed::said(
            "Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)",
        ));
    };
    let client = call.settings.connect()?;
    let urls = check_peer_urls(&urls.split(',').collect::<Vec<_>>()).map_err(Failed::said)?;
    client.update_member(id, &urls, call.settings.deadline()).map_err(Failed::bare)?;
    screen::say(format_args!("Updated member with ID {id} in cluster"));
    Ok(())
}
