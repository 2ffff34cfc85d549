// Three members, of which the leader is killed under a watcher.
'use strict';

const Etcd = require('node-etcd');
const { ask, control, getJson, show, watchers, within } = require('./show');

// The longest that writes may be refused: a request's own limit and an election, twice.
const FAILOVER_S = 20;

async function leads(url) {
  return (await getJson(`${url}/v2/stats/self`)).state === 'StateLeader';
}

async function statistics(leader, follower) {
  const of = (url) => new Etcd(url.replace('http://', ''));
  show('leaderStats at a follower', await ask((done) => of(follower).leaderStats(done)));
  const { body } = await ask((done) => of(leader).leaderStats(done));
  const followers = Object.values(body.followers);
  console.log('leaderStats', followers.length, JSON.stringify(followers.map((one) => Object.keys(one))));
  const machines = await ask((done) => of(follower).raw('GET', 'v2/machines', null, {}, done));
  console.log('machines', String(machines.body).split(', ').length);
}

module.exports = async (etcd, urls) => {
  for (let n = 1; n <= 9; n++) {
    const { error } = await ask((done) => etcd.set('k', String(n), done));
    if (error) console.log('set', error.message);
  }
  const { body } = await ask((done) => etcd.get('k', { quorum: true }, done));
  console.log('quorum get', body.node.value);

  let leader;
  await within(20, async () => {
    for (const url of urls) if (await leads(url)) leader = url;
    return leader;
  });
  await statistics(leader, urls.find((url) => url !== leader));

  const seen = [];
  const watcher = etcd.watcher('k');
  watcher.on('change', (event) => seen.push(event.node.value));
  await within(10, async () => {
    const counts = await Promise.all(urls.map(watchers));
    return counts.some((count) => count > 0);
  });
  await control('KILL', leader);
  const write = (value) => async () => !(await ask((done) => etcd.set('k', value, done))).error;
  console.log('write after the death of the leader', await within(FAILOVER_S, write('after')));
  // Without an index the watcher takes what happens when it is back.
  const ended = await within(FAILOVER_S, async () => (await write('end')()) && seen.includes('end'));
  console.log('the watcher goes on', ended);
  watcher.stop();
};
