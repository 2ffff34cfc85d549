//! What becomes of packets on their way from one member to another: some are lost, or connections are reset. nftables in the receivers'
//! namespaces do it, so that a sender notices no more of it than on a real network.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::netns::Net;
use crate::harness::run_inside;

impl Net {
    /// So many of a hundred packets between members are lost, at random, in each direction.
    pub(super) fn lose(&self, percent: u32) {
        (0..self.members())
            .for_each(|nth| self.filter(nth, &format!("numgen random mod 100 < {percent} counter drop")));
    }

    /// Whatever reaches one of these members from another is answered with a reset, until [`Net::pass`]. With one member alone the others
    /// lose their connections to it, and it learns so when it sends the next time.
    pub(super) fn reset(&self, members: &[usize]) {
        // A reset itself must arrive: who is told by it shall be.
        for &nth in members {
            self.filter(nth, "tcp flags & rst == 0 counter reject with tcp reset");
        }
    }

    /// Every packet arrives again.
    pub(super) fn pass(&self) {
        (0..self.members()).for_each(|nth| self.filter(nth, ""));
    }

    /// What a member does with packets of other members, in place of what it did before.
    fn filter(&self, nth: usize, rule: &str) {
        let chain = match rule {
            "" => String::new(),
            rule => format!(
                "chain arriving {{\n type filter hook input priority 0;\n iifname eth0 ip saddr != {} {rule}\n }}",
                self.own()
            ),
        };
        // The first line is there for the second, which fails when there is nothing to delete.
        self.nft(nth, &format!("table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n {chain}\n}}\n"));
    }

    /// Runs `nft` in a member's namespace, which must succeed; what it said.
    fn nft(&self, nth: usize, script: &str) -> String {
        let mut command = Command::new("nft");
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run_inside(&mut command, &self.namespace(nth));
        let mut child = command.spawn().expect("nft starts");
        child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("nft reads what it is to do");
        let output = child.wait_with_output().expect("nft ends");
        assert!(output.status.success(), "nft ({script}): {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The name of the table, in each namespace.
const TABLE: &str = "suite";

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    use super::*;

    /// Both ends of a connection from member 0 to member 1.
    fn connected(net: &Net) -> (TcpStream, TcpStream) {
        let address = (net.host(1), 7);
        let listener = net.inside(1, move || TcpListener::bind(address).expect("its address is there"));
        let one = net.inside(0, move || TcpStream::connect(address).expect("they reach each other"));
        (one, listener.accept().expect("it has connected").0)
    }

    /// What becomes of a byte from one end to the other.
    fn carry(from: &mut TcpStream, to: &mut TcpStream) -> (Result<u8, ErrorKind>, Option<ErrorKind>) {
        from.write_all(&[1]).expect("the kernel takes it");
        let (mut got, limit) = ([0], Some(Duration::from_millis(100)));
        to.set_read_timeout(limit).expect("above zero");
        from.set_read_timeout(limit).expect("above zero");
        let arrived = to.read_exact(&mut got).map(|()| got[0]).map_err(|error| error.kind());
        (arrived, from.read_exact(&mut got).err().map(|error| error.kind()))
    }

    const NOTHING: Result<u8, ErrorKind> = Err(ErrorKind::WouldBlock);

    #[test]
    fn some_packets_are_lost_in_both_directions_and_none_afterwards() {
        let net = Net::of(2);
        let (a, b) = (net.host(0), net.host(1));
        let one = net.inside(0, move || UdpSocket::bind((a, 7)).expect("its address is there"));
        let other = net.inside(1, move || UdpSocket::bind((b, 7)).expect("its address is there"));
        let arriving = |from: &UdpSocket, to: &UdpSocket, address| {
            to.set_read_timeout(Some(Duration::from_millis(200))).expect("above zero");
            let mut arrived = 0;
            for _ in 0..20 {
                (0..50).for_each(|_| assert_eq!(from.send_to(&[1], address).expect("it is sent"), 1));
                arrived += (0..50).take_while(|_| to.recv_from(&mut [0; 8]).is_ok()).count();
            }
            arrived
        };
        net.lose(10);
        for arrived in [arriving(&one, &other, (b, 7)), arriving(&other, &one, (a, 7))] {
            assert!((820..=970).contains(&arrived), "{arrived} of 1000");
        }
        net.pass();
        assert_eq!(arriving(&one, &other, (b, 7)), 1000);
    }

    #[test]
    fn a_reset_hits_one_end_or_both() {
        let net = Net::of(2);
        let (mut a, mut b) = connected(&net);
        assert_eq!(carry(&mut a, &mut b), (Ok(1), Some(ErrorKind::WouldBlock)));
        net.reset(&[1]);
        assert_eq!(carry(&mut a, &mut b), (NOTHING, Some(ErrorKind::ConnectionReset)), "the sender is told");
        net.pass();
        assert_eq!(carry(&mut b, &mut a).1, Some(ErrorKind::ConnectionReset), "so is the other one when it sends");

        let (mut a, mut b) = connected(&net);
        net.reset(&[0, 1]);
        assert_eq!(carry(&mut a, &mut b), (NOTHING, Some(ErrorKind::ConnectionReset)));
        net.pass();
        assert_eq!(carry(&mut b, &mut a).1, Some(ErrorKind::ConnectionReset));
        let (mut a, mut b) = connected(&net);
        assert_eq!(carry(&mut b, &mut a), (Ok(1), Some(ErrorKind::WouldBlock)), "new connections hold");
    }
}
