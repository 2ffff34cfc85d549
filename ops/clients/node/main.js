// node-etcd against a v2 server. Prints a transcript.
//
// Usage: main.js URL..., with members that ../node_etcd.py started. CONTROL is the URL at which it ends members and starts them again.
'use strict';

const { begin } = require('./show');
const Etcd = require('node-etcd');

async function main(urls) {
  const hosts = urls.map((url) => url.replace('http://', ''));
  const etcd = new Etcd(hosts);
  await begin(etcd);
  if (hosts.length === 1) {
    await require('./keys')(etcd);
    await require('./rest')(etcd, hosts[0]);
    await require('./watches')(etcd, urls[0]);
  } else {
    await require('./failover')(etcd, urls);
  }
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error) => {
    console.log('FAILED', error);
    process.exit(1);
  },
);
