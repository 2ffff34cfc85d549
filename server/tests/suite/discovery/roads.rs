//! Ways to a service other than straight over HTTP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::{is_one_cluster, member, nowhere, registry};
use crate::harness::{Flavor, PATIENCE, eventually, need, shell, uetcd_only};

/// An HTTP proxy for one request at a time, and the request lines that it gets.
fn proxy() -> (String, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let (told, lines) = channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = BufReader::new(client.expect("a client"));
            let mut line = String::new();
            client.read_line(&mut line).expect("a request");
            let to = line.split("//").nth(1).and_then(|rest| rest.split('/').next());
            let to = to.or_else(|| line.split(' ').nth(1)).expect("an address").to_owned();
            let mut server = TcpStream::connect(to).expect("the service listens");
            if line.starts_with("CONNECT ") {
                let mut rest = String::new();
                while rest != "\r\n" {
                    rest.clear();
                    client.read_line(&mut rest).expect("a field");
                }
                client.get_mut().write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").expect("it listens");
            } else {
                let path = line.splitn(4, '/').nth(3).expect("a path");
                let method = line.split(' ').next().expect("a method");
                write!(server, "{method} /{path}").expect("it listens");
            }
            told.send(line).expect("the test listens");
            let (mut back, mut out) =
                (server.try_clone().expect("a clone"), client.get_ref().try_clone().expect("a clone"));
            thread::spawn(move || std::io::copy(&mut client, &mut server));
            thread::spawn(move || {
                let _ = std::io::copy(&mut back, &mut out);
                let _ = out.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (address, lines)
}

#[test]
fn a_proxy_is_asked_for_all_of_it() {
    let (service, url) = registry("1");
    let (proxy, lines) = proxy();
    let founder = member(service.flavor(), "a", &url).args(["--discovery-proxy", &proxy]).launch();
    is_one_cluster(&[founder]);
    let first = lines.recv_timeout(PATIENCE).expect("a request");
    assert_eq!(first, format!("GET {url}/_config/size?quorum=false&recursive=false&sorted=false HTTP/1.1\r\n"));
}

/// An authority, and a certificate for `127.0.0.1` that it has signed.
const MAKE_CERTIFICATES: &str = "set -e
key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
openssl req -x509 $key -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca
printf 'subjectAltName=IP:127.0.0.1\\n' > extensions
openssl req $key -keyout server.key -out server.csr -subj /CN=server
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem";

/// An etcd with TLS for its clients.
struct SecretService(Child);

impl SecretService {
    fn start(home: &Path, client: &str) -> Self {
        need("etcd");
        let peer = nowhere();
        let child = Command::new("etcd")
            .current_dir(home)
            .args(["--enable-v2", "--data-dir", "data", "--name", "a", "--cert-file", "server.pem"])
            .args(["--key-file", "server.key", "--initial-cluster", &format!("a={peer}")])
            .args(["--listen-client-urls", client, "--advertise-client-urls", client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("etcd starts"))
    }
}

impl Drop for SecretService {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_with_tls_must_be_trusted() {
    uetcd_only!("the service is etcd");
    need("openssl");
    need("curl");
    let home = tempfile::tempdir().expect("a directory");
    let made = shell(&format!("cd {} && {MAKE_CERTIFICATES}", home.path().display()));
    assert!(made.status.success(), "{made:?}");
    let service = nowhere().replace("http:", "https:");
    let _etcd = SecretService::start(home.path(), &service);
    let (token, ca) = (format!("{service}/v2/keys/t"), home.path().join("ca.pem").display().to_string());
    eventually("etcd serves", PATIENCE, || {
        let put = format!("curl -sf --cacert {ca} -X PUT {token}/_config/size -d value=1");
        shell(&put).status.success().then_some(())
    });

    let stranger = member(Flavor::Uetcd, "a", &token).launch();
    stranger.wait_for_log("invalid peer certificate: UnknownIssuer");
    assert!(stranger.log().contains(&format!("error connecting to {service}, retrying in 2s")), "{}", stranger.log());
    drop(stranger);

    let (proxy, lines) = proxy();
    let trusting = member(Flavor::Uetcd, "a", &token).env("SSL_CERT_FILE", &ca).args(["--discovery-proxy", &proxy]);
    is_one_cluster(&[trusting.launch()]);
    let first = lines.recv_timeout(PATIENCE).expect("a request");
    assert_eq!(first, format!("CONNECT {} HTTP/1.1\r\n", &service["https://".len()..]));
}

#[test]
fn a_service_may_send_its_clients_elsewhere() {
    let (service, url) = registry("1");
    let front = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let at = front.local_addr().expect("bound");
    let elsewhere = service.url("");
    thread::spawn(move || {
        for client in front.incoming() {
            let mut client = BufReader::new(client.expect("a client"));
            let elsewhere = elsewhere.clone();
            thread::spawn(move || {
                let (mut line, mut rest) = (String::new(), String::new());
                while client.read_line(&mut line).is_ok_and(|length| length > 0) {
                    let mut length = 0;
                    while rest != "\r\n" {
                        rest.clear();
                        client.read_line(&mut rest).expect("a field");
                        let value = rest.to_ascii_lowercase();
                        length = value
                            .strip_prefix("content-length:")
                            .map_or(length, |value| value.trim().parse().expect("a length"));
                    }
                    std::io::copy(&mut std::io::Read::take(&mut client, length), &mut std::io::sink()).expect("a body");
                    let path = line.split(' ').nth(1).expect("a path");
                    let answer = format!(
                        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere}{path}\r\nContent-Length: 0\r\n\r\n"
                    );
                    client.get_mut().write_all(answer.as_bytes()).expect("it listens");
                    (line, rest) = (String::new(), String::new());
                }
            });
        }
    });
    let through = url.replace(&service.address().to_string(), &at.to_string());
    is_one_cluster(&[member(service.flavor(), "a", &through).launch()]);
}
