//! Two regions greet each other: only under the very same pair descriptor, and who is refused is told and remembered.

use std::net::Ipv4Addr;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use wire::descriptor::{PairHello, PairMismatch};
use wire::{Digest, FRAME_HEADER_BYTES, FrameHeader, FrameType};

use super::super::*;
use super::rig::*;

fn hello() -> PairHello {
    PairHello { sha256: Digest([1; 32]), serial: 2, jurisdiction: "eu".into() }
}

/// A server of a region under `here`, asked by a member of the other region that says `there`.
async fn greet(here: Option<PairHello>, there: Option<PairHello>) -> (Rig, Peers, Result<Reply, CallError>) {
    let rig = Rig::new(PeerOptions::default()).await;
    if let Some(hello) = here {
        rig.server.set_tls(rig.authority.tls(&identity(PeerRole::Node(SERVER))).with_pair(hello));
    }
    let tls = rig.authority.tls(&identity(PeerRole::Pair(CLIENT.0)));
    let peers = rig.peers_as(
        match there {
            Some(hello) => tls.with_pair(hello),
            None => tls,
        },
        PeerOptions::default(),
    );
    let answer = ask(&peers, PeerClass::Bulk, ECHO, "entries").await;
    (rig, peers, answer)
}

#[tokio::test]
async fn regions_under_one_descriptor_reach_each_other() {
    let (rig, peers, answer) = greet(Some(hello()), Some(hello())).await;
    assert_eq!(answer.map(|reply| reply.head), Ok(Bytes::from_static(b"entries")));
    assert_eq!((rig.server.refused().total(), peers.refused().total()), (0, 0));
}

#[tokio::test]
async fn another_jurisdiction_serial_or_descriptor_or_none_is_refused_and_both_ends_say_why() {
    let us = PairHello { jurisdiction: "us".into(), ..hello() };
    let newer = PairHello { serial: 3, ..hello() };
    let other = PairHello { sha256: Digest([9; 32]), ..hello() };
    let cases = [
        (
            Some(hello()),
            Some(us),
            PairMismatch::Jurisdiction { own: "eu".into(), found: "us".into() },
            "pair descriptor of another jurisdiction: us instead of eu",
        ),
        (
            Some(hello()),
            Some(newer),
            PairMismatch::Serial { own: 2, found: 3 },
            "another pair descriptor: serial 3 instead of 2",
        ),
        (
            Some(hello()),
            Some(other),
            PairMismatch::Other { found: Digest([9; 32]) },
            "another pair descriptor under",
        ),
        (Some(hello()), None, PairMismatch::NotShown, "no pair descriptor was shown"),
        (None, Some(hello()), PairMismatch::NotHere, "there is no pair descriptor"),
    ];
    for (here, there, mismatch, said) in cases {
        let (rig, peers, answer) = greet(here, there).await;
        let Err(CallError::Unreachable { reason }) = &answer else { panic!("{answer:?}") };
        assert!(reason.starts_with(said), "{reason}");
        let by_server = &rig.server.refused().recent()[0];
        assert_eq!(by_server.reason, RefusedReason::Pair(mismatch));
        let claimed = by_server.certificate.clone().and_then(|shown| shown.claimed);
        assert_eq!(claimed, Some(identity(PeerRole::Pair(CLIENT.0)).to_string()));
        assert!(rig.server.refused().of_kind("pair") > 0);
        let by_client = &peers.refused().recent()[0];
        assert!(
            matches!(&by_client.reason, RefusedReason::ByPeer { detail } if detail.starts_with(said)),
            "{by_client:?}"
        );
        assert!(by_client.certificate.is_some(), "whose server it was");
    }
}

#[tokio::test]
async fn a_region_that_accepts_without_showing_its_descriptor_is_not_asked() {
    let authority = Authority::new();
    let server = authority.tls(&identity(PeerRole::Node(SERVER)));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    // takes every greeting, and answers it with a bare pong
    let careless = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(server.server.clone()).accept(socket).await.unwrap();
        let mut fixed = [0; FRAME_HEADER_BYTES];
        stream.read_exact(&mut fixed).await.unwrap();
        let mut head = vec![0; FrameHeader::decode(&fixed).unwrap().head_bytes as usize];
        stream.read_exact(&mut head).await.unwrap();
        let pong = FrameHeader::new(FrameType::Pong, PeerClass::Bulk, 0, 0, &[], &[]).unwrap();
        stream.write_all(&pong.encode()).await.unwrap();
        let mut rest = Vec::new();
        _ = stream.read_to_end(&mut rest).await;
        (Bytes::from(head), rest)
    });
    let pair = authority.tls(&identity(PeerRole::Pair(CLIENT.0))).with_pair(hello());
    let peers = Peers::new(pair, PeerOptions::default());
    peers.set_address(SERVER, address);
    let answer = ask(&peers, PeerClass::Bulk, ECHO, "entries").await;
    assert!(matches!(answer, Err(CallError::Unreachable { .. })), "{answer:?}");
    assert_eq!(peers.refused().recent()[0].reason, RefusedReason::Pair(PairMismatch::NotShown));
    let (greeting, rest) = careless.await.unwrap();
    assert_eq!(PairHello::decode(greeting), Ok(hello()));
    assert_eq!(rest, [], "nothing was asked");
}

#[tokio::test]
async fn a_certificate_from_before_the_time_in_the_descriptor_counts_for_nothing_and_is_on_record() {
    let rig = Rig::new(PeerOptions::default()).await;
    let own = rig.authority.tls(&identity(PeerRole::Node(SERVER))).with_pair(hello());
    // those of the tests are valid from 1975 on
    let since = |since| own.clone().with_pair_members_since(Some(since));
    let begin = wire::UnixMillis(157_766_400_000);
    let member = || rig.authority.tls(&identity(PeerRole::Pair(CLIENT.0))).with_pair(hello());
    rig.server.set_tls(since(begin));
    let peers = rig.peers_as(member(), PeerOptions::default());
    assert!(ask(&peers, PeerClass::Bulk, ECHO, "entries").await.is_ok());

    rig.server.set_tls(since(wire::UnixMillis(begin.0 + 1)));
    let peers = rig.peers_as(member(), PeerOptions::default());
    let answer = ask(&peers, PeerClass::Bulk, ECHO, "entries").await;
    assert!(matches!(answer, Err(CallError::Unreachable { .. })), "{answer:?}");
    let refused = &rig.server.refused().recent()[0];
    assert_eq!(refused.reason, RefusedReason::Revoked { since: wire::UnixMillis(begin.0 + 1) });
    let claimed = refused.certificate.clone().and_then(|shown| shown.claimed);
    assert_eq!(claimed, Some(identity(PeerRole::Pair(CLIENT.0)).to_string()));
    assert!(rig.server.refused().of_kind("revoked") > 0);
    // members of the own region are not meant
    assert!(ask(&rig.node(), PeerClass::Bulk, ECHO, "entries").await.is_ok());
}
