// Requests by hand, statistics, synchronous calls, hosts that are dead, authentication that is off.
'use strict';

const Etcd = require('node-etcd');
const { ask, heads, show, showCall } = require('./show');

// Nobody listens there.
const DEAD = ['127.0.0.1:1', '127.0.0.1:2'];

async function raw(etcd) {
  await showCall('raw GET', (done) => etcd.raw('GET', 'v2/keys/obj', null, {}, done));
  await showCall('raw PUT', (done) => etcd.raw('PUT', 'v2/keys/raw', 'v', {}, done));
  await showCall('raw PATCH', (done) => etcd.raw('PATCH', 'v2/keys/raw', 'v', {}, done));
  await showCall('raw POST members', (done) => etcd.raw('POST', 'v2/members', 'v', {}, done));
  await showCall('raw OPTIONS', (done) => etcd.raw('OPTIONS', 'v2/keys/raw', null, {}, done));
  await showCall('raw HEAD', (done) => etcd.raw('HEAD', 'v2/keys/obj', null, {}, done));
  await showCall('raw 404', (done) => etcd.raw('GET', 'nothing', null, {}, done));
  await showCall('raw health', (done) => etcd.raw('GET', 'health', null, {}, done));
  await showCall('machines', (done) => etcd.machines(done));
  await showCall('leader', (done) => etcd.leader(done));
  await showCall('raw v2/machines', (done) => etcd.raw('GET', 'v2/machines', null, {}, done));
}

async function statistics(etcd) {
  const self = await ask((done) => etcd.selfStats(done));
  console.log('selfStats', Object.keys(self.body).join(), Object.keys(self.body.leaderInfo).join(), heads(self.headers));
  const leader = await ask((done) => etcd.leaderStats(done));
  console.log('leaderStats', Object.keys(leader.body).join(), JSON.stringify(leader.body.followers), heads(leader.headers));
  const version = await ask((done) => etcd.version(done));
  console.log('version', Object.keys(version.body).slice(0, 2).join(), heads(version.headers));
}

function synchronous(etcd) {
  const showSync = (tag, { err, body, headers }) => show(tag, { error: err, body, headers });
  showSync('setSync', etcd.setSync('sync', 'v'));
  showSync('getSync', etcd.getSync('sync'));
  showSync('getSync missing', etcd.getSync('syncx'));
  showSync('mkdirSync', etcd.mkdirSync('sd'));
  showSync('rmdirSync', etcd.rmdirSync('sd'));
  showSync('delSync', etcd.delSync('sync'));
}

async function endpoints(etcd, host) {
  const impatient = new Etcd(host, { timeout: 500 });
  const { error } = await ask((done) => impatient.get('w', { wait: true, maxRetries: 0 }, done));
  console.log('timeout', error && error.errors.map((one) => one.httperror.code).join());

  const oneDead = new Etcd([DEAD[0], host]);
  for (let n = 0; n < 6; n++) {
    await showCall('one dead', (done) => oneDead.set('multi', String(n), done));
  }
  await showCall('all dead', (done) => new Etcd(DEAD).set('multi', '1', { maxRetries: 1 }, done));
  const withPassword = new Etcd(host, { auth: { user: 'root', pass: 'x' } });
  await showCall('basic auth', (done) => withPassword.set('ba', '1', done));
}

module.exports = async (etcd, host) => {
  await raw(etcd);
  await statistics(etcd);
  synchronous(etcd);
  await endpoints(etcd, host);
};
