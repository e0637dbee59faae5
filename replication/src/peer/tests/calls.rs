//! Calls: answers, order, broken connections, bounds.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wire::NodeId;

use super::super::*;
use super::rig::*;

/// Passes bytes on until it is told to cut every connection.
async fn relay(
    target: std::net::SocketAddr,
) -> (std::net::SocketAddr, Arc<std::sync::Mutex<CancellationToken>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let cut = Arc::new(std::sync::Mutex::new(CancellationToken::new()));
    let current = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let token = current.lock().unwrap().clone();
            tokio::spawn(token.run_until_cancelled_owned(async move {
                let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }));
        }
    });
    (address, cut)
}

fn cut(token: &std::sync::Mutex<CancellationToken>) {
    std::mem::take(&mut *token.lock().unwrap()).cancel();
}

#[tokio::test]
async fn a_call_of_four_mebibytes_comes_back_whole() {
    let rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    let parts: Vec<Bytes> = (0..4_u8).map(|fill| Bytes::from(vec![fill; 1 << 20])).collect();
    let reply = peers
        .call(SERVER, PeerClass::Bulk, ECHO, Bytes::from_static(b"head"), parts.clone(), LONG)
        .await
        .unwrap();
    assert_eq!(reply.head, "head");
    assert!(reply.body == parts.concat());
    peers.shutdown().await;
    rig.server.shutdown().await;
    let (client, server) = (peers.metrics().classes[2], rig.server.metrics().classes[2]);
    assert_eq!((client.frames_sent, client.frames_received), (2, 2));
    assert_eq!(client.sent_bytes, server.received_bytes + 36); // the server counts the first ping as admin
    assert_eq!((client.calls_in_flight, server.calls_in_flight), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_get_their_own_answers() {
    let rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    for class in PeerClass::ALL {
        let calls = (0..2_000_u32).map(|number| {
            let peers = peers.clone();
            tokio::spawn(async move {
                let head = Bytes::from(number.to_string());
                let body = vec![Bytes::from(vec![number as u8; number as usize % 900])];
                let reply = peers.call(SERVER, class, ECHO, head.clone(), body.clone(), LONG).await;
                assert_eq!(reply, Ok(Reply { head, body: body[0].clone() }));
            })
        });
        for call in join_all(calls).await {
            call.unwrap();
        }
    }
    assert_eq!(peers.metrics().classes.map(|class| class.connects), [2, 1, 2, 1]);
}

#[tokio::test]
async fn a_slow_call_does_not_hold_up_the_next() {
    for kind in [GATED, GATED_INLINE] {
        let mut rig = Rig::new(PeerOptions::default()).await;
        let peers = rig.node();
        let slow = tokio::spawn({
            let peers = peers.clone();
            async move { ask(&peers, PeerClass::Liveness, kind, "slow").await }
        });
        assert_eq!(rig.arrived().await, "slow");
        assert_eq!(ask(&peers, PeerClass::Liveness, ECHO, "fast").await.unwrap().head, "fast");
        assert!(!slow.is_finished());
        rig.gate.add_permits(1);
        assert_eq!(slow.await.unwrap().unwrap().head, "slow");
    }
}

#[tokio::test]
async fn a_broken_connection_fails_what_waits_and_the_next_call_connects_again() {
    let mut rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    let (address, token) = relay(rig.address()).await;
    peers.set_address(SERVER, address);
    let waiting = tokio::spawn({
        let peers = peers.clone();
        async move { ask(&peers, PeerClass::Liveness, GATED, "waits").await }
    });
    rig.arrived().await;
    cut(&token);
    assert_eq!(waiting.await.unwrap(), Err(CallError::Disconnected));
    assert_eq!(ask(&peers, PeerClass::Liveness, ECHO, "again").await.unwrap().head, "again");
    let metrics = peers.metrics().classes[PeerClass::Liveness.index()];
    assert_eq!((metrics.connects, metrics.disconnects), (2, 1));
}

#[tokio::test]
async fn a_changed_address_ends_the_connection_to_the_old_one() {
    let mut rig = Rig::new(PeerOptions::default()).await;
    let other = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    let waiting = tokio::spawn({
        let peers = peers.clone();
        async move { ask(&peers, PeerClass::Bulk, GATED, "waits").await }
    });
    rig.arrived().await;
    peers.set_address(SERVER, other.address());
    assert_eq!(waiting.await.unwrap(), Err(CallError::Disconnected));
}

#[tokio::test]
async fn a_node_that_is_not_there_is_unreachable_and_stays_so_without_a_socket_for_a_while() {
    let rig = Rig::new(PeerOptions::default()).await;
    let options = PeerOptions { backoff_first: LONG, backoff_max: LONG, ..PeerOptions::default() };
    let peers = rig.peers(PeerRole::Node(CLIENT), options);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    peers.set_address(NodeId(9), gone);
    let ask = || peers.call(NodeId(9), PeerClass::Bulk, ECHO, Bytes::new(), Vec::new(), LONG);
    // bulk has two places for a connection; each finds out once
    for _ in 0..4 {
        assert!(matches!(ask().await, Err(CallError::Unreachable { .. })));
    }
    let _now_there = TcpListener::bind(gone).await.unwrap();
    assert!(matches!(ask().await, Err(CallError::Unreachable { .. })), "still waiting");
    let unknown = peers.call(NodeId(10), PeerClass::Bulk, ECHO, Bytes::new(), Vec::new(), LONG).await;
    assert!(matches!(unknown, Err(CallError::Unreachable { .. })));
}

#[tokio::test]
async fn refusals_and_panics_of_a_handler_come_back_as_such() {
    let rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    let refused = ask(&peers, PeerClass::Bulk, REFUSE, "").await;
    assert_eq!(refused, Err(CallError::Refused { code: 101, message: "not today".into() }));
    for class in [PeerClass::Bulk, PeerClass::Liveness] {
        let failed = ask(&peers, class, PANIC, "").await;
        assert!(matches!(failed, Err(CallError::Refused { code: CallRefusal::FAULT, .. })), "{failed:?}");
    }
    assert!(ask(&peers, PeerClass::Liveness, ECHO, "").await.is_ok());
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_dropped_and_frees_its_place() {
    let options = PeerOptions { calls_in_flight: 1, ..PeerOptions::default() };
    let mut rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.peers(PeerRole::Node(CLIENT), options);
    assert!(ask(&peers, PeerClass::Admin, ECHO, "connects").await.is_ok());
    let late = peers
        .call(SERVER, PeerClass::Admin, GATED, Bytes::new(), Vec::new(), Duration::from_millis(200))
        .await;
    assert_eq!(late, Err(CallError::TimedOut));
    rig.arrived().await;
    assert_eq!(ask(&peers, PeerClass::Admin, ECHO, "next").await.unwrap().head, "next");
    rig.gate.add_permits(1);
    assert_eq!(ask(&peers, PeerClass::Admin, ECHO, "last").await.unwrap().head, "last");
}

#[tokio::test]
async fn a_call_given_up_counts_until_its_handler_is_done() {
    let mut rig = Rig::new(PeerOptions { calls_running: 1, ..PeerOptions::default() }).await;
    let peers = rig.node();
    assert!(ask(&peers, PeerClass::Admin, ECHO, "connects").await.is_ok());
    let soon = Duration::from_millis(100);
    let briefly = |kind| peers.call(SERVER, PeerClass::Admin, kind, Bytes::new(), Vec::new(), soon);
    assert_eq!(briefly(GATED).await, Err(CallError::TimedOut));
    rig.arrived().await;
    assert_eq!(briefly(ECHO).await, Err(CallError::TimedOut), "no second handler beside the first");
    rig.gate.add_permits(1);
    assert!(ask(&peers, PeerClass::Admin, ECHO, "").await.is_ok());
}

#[tokio::test]
async fn a_frame_over_its_limits_is_never_sent() {
    let rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    let body = vec![Bytes::from(vec![0; wire::limits::FRAME_BODY_BYTES_MAX + 1])];
    let refused = peers.call(SERVER, PeerClass::Bulk, ECHO, Bytes::new(), body, LONG).await;
    assert_eq!(refused, Err(CallError::TooLarge));
}

#[tokio::test]
async fn the_own_node_answers_without_a_socket() {
    let rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.peers(PeerRole::Node(NodeId(5)), PeerOptions::default());
    let (handler, _, _) = Tester::new();
    peers.set_local(handler);
    let body = vec![Bytes::from_static(b"in "), Bytes::from_static(b"parts")];
    let reply = peers.call(NodeId(5), PeerClass::Bulk, ECHO, Bytes::from_static(b"own"), body, LONG).await;
    assert_eq!(reply, Ok(Reply { head: "own".into(), body: "in parts".into() }));
    assert_eq!(peers.metrics(), PeerMetrics::default());
}

#[tokio::test]
async fn a_server_that_does_not_read_bounds_what_waits_for_it() {
    let server = PeerOptions { calls_running: 1, ..PeerOptions::default() };
    let mut rig = Rig::new(server).await;
    let client = PeerOptions { queue_bytes: 4 << 20, ..PeerOptions::default() };
    let peers = rig.peers(PeerRole::Node(CLIENT), client);
    let body = Bytes::from(vec![1; 4 << 20]);
    let call = |timeout| {
        let (peers, body) = (peers.clone(), body.clone());
        async move { peers.call(SERVER, PeerClass::Admin, GATED, Bytes::new(), vec![body], timeout).await }
    };
    let first = tokio::spawn(call(LONG));
    rig.arrived().await;
    // the socket's buffers take some of the next frames; then the queue is full and callers wait
    let mut waiting = Vec::new();
    let overloaded = loop {
        waiting.push(tokio::spawn(call(LONG)));
        match call(Duration::from_millis(300)).await {
            Err(CallError::TimedOut) => assert!(waiting.len() < 32, "the queue has no end"),
            other => break other,
        }
    };
    assert_eq!(overloaded, Err(CallError::Overloaded));
    rig.gate.add_permits(1000);
    assert_eq!(first.await.unwrap().unwrap().body, body);
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap().body, body);
    }
}

#[tokio::test]
async fn bodies_in_the_hands_of_handlers_are_bounded_across_connections() {
    let server = PeerOptions { bodies_bytes: 2 << 20, ..PeerOptions::default() };
    let mut rig = Rig::new(server).await;
    let (one, two) = (rig.node(), rig.peers(PeerRole::Node(NodeId(3)), PeerOptions::default()));
    let call = |peers: &Peers, head: &'static str| {
        let peers = peers.clone();
        let body = vec![Bytes::from(vec![1; 2 << 20])];
        tokio::spawn(async move {
            peers.call(SERVER, PeerClass::Admin, GATED, Bytes::from_static(head.as_bytes()), body, LONG).await
        })
    };
    let first = call(&one, "first");
    assert_eq!(rig.arrived().await, "first");
    let second = call(&two, "second");
    // calls without a body still pass on a third connection, while the second waits for room
    assert!(ask(&one, PeerClass::Admin, ECHO, "").await.is_ok());
    assert!(rig.arrivals.try_recv().is_err());
    rig.gate.add_permits(1);
    assert!(first.await.unwrap().is_ok());
    assert_eq!(rig.arrived().await, "second");
    rig.gate.add_permits(1);
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test]
async fn shutdown_lets_a_running_call_finish_and_then_refuses_the_next() {
    let mut rig = Rig::new(PeerOptions { drain: LONG, ..PeerOptions::default() }).await;
    let peers = rig.node();
    let running = tokio::spawn({
        let peers = peers.clone();
        async move { ask(&peers, PeerClass::Bulk, GATED, "runs").await }
    });
    rig.arrived().await;
    let gate = rig.gate.clone();
    let ((), running) = tokio::join!(rig.server.shutdown(), async {
        gate.add_permits(1);
        running.await.unwrap()
    });
    assert_eq!(running.unwrap().head, "runs");
    assert!(matches!(
        ask(&peers, PeerClass::Bulk, ECHO, "next").await,
        Err(CallError::Unreachable { .. } | CallError::Disconnected)
    ));
}

#[tokio::test]
async fn shutdown_drops_a_call_that_outlasts_its_limit() {
    let mut rig = Rig::new(PeerOptions { drain: Duration::from_millis(20), ..PeerOptions::default() }).await;
    let peers = rig.node();
    for kind in [GATED, GATED_INLINE] {
        let peers = peers.clone();
        tokio::spawn(async move { ask(&peers, PeerClass::Bulk, kind, "stays").await });
        rig.arrived().await;
    }
    rig.server.shutdown().await;
    assert_eq!(rig.server.metrics().classes[PeerClass::Bulk.index()].calls_in_flight, 0);
}

#[tokio::test]
async fn a_renewed_certificate_serves_new_connections_while_old_ones_live_on() {
    let rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    assert!(ask(&peers, PeerClass::Liveness, ECHO, "").await.is_ok());
    rig.server.set_tls(rig.authority.tls(&identity(PeerRole::Node(SERVER))));
    peers.set_tls(rig.authority.tls(&identity(PeerRole::Node(CLIENT))));
    assert!(ask(&peers, PeerClass::Liveness, ECHO, "").await.is_ok());
    assert!(ask(&peers, PeerClass::Append, ECHO, "").await.is_ok());
    assert_eq!(peers.metrics().classes.map(|class| class.connects), [1, 1, 0, 0]);
}
