//! Streams: order, window, ends.

use bytes::Bytes;
use futures_util::FutureExt;

use super::super::*;
use super::rig::*;

async fn open(peers: &Peers, kind: u16) -> StreamHandle {
    peers.open_stream(SERVER, PeerClass::Append, 7, kind, Bytes::new(), LONG).await.unwrap()
}

fn number(value: u32) -> Bytes {
    Bytes::from(value.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_in_the_order_of_the_items() {
    let rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    let streams = (0..8).map(|_| {
        let peers = peers.clone();
        tokio::spawn(async move {
            let (mut sender, mut receiver) = open(&peers, COPY).await.split();
            let sending = tokio::spawn(async move {
                for item in 0..500 {
                    sender.send(number(item), vec![Bytes::from(vec![0; 3000])]).await.unwrap();
                }
                sender.finish();
            });
            for item in 0..500 {
                assert_eq!(receiver.next().await.unwrap().unwrap().head, number(item));
            }
            assert_eq!(receiver.next().await, Ok(None));
            assert_eq!(receiver.next().await, Ok(None));
            sending.await.unwrap();
        })
    });
    for stream in streams.collect::<Vec<_>>() {
        stream.await.unwrap();
    }
}

#[tokio::test]
async fn a_stalled_stream_stops_at_its_window_and_leaves_the_connection_to_others() {
    let mut rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    let mut stalled = open(&peers, COPY_GATED).await;
    for item in 0..16 {
        stalled.send(number(item), Vec::new()).await.unwrap();
    }
    assert!(stalled.send(number(16), Vec::new()).now_or_never().is_none(), "the window is full");
    let mut other = open(&peers, COPY).await;
    other.send(number(99), Vec::new()).await.unwrap();
    assert_eq!(other.next().await.unwrap().unwrap().head, number(99));
    rig.arrived().await;
    rig.gate.add_permits(17);
    assert_eq!(stalled.next().await.unwrap().unwrap().head, number(0));
    stalled.send(number(16), Vec::new()).await.unwrap();
    for item in 1..17 {
        assert_eq!(stalled.next().await.unwrap().unwrap().head, number(item));
    }
}

#[tokio::test]
async fn the_window_bounds_bytes_too() {
    let rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    let mut stalled = open(&peers, COPY_GATED).await;
    let body = || vec![Bytes::from(vec![0; 4 << 20])];
    for item in 0..3 {
        stalled.send(number(item), body()).await.unwrap();
    }
    assert!(
        stalled.send(number(3), body()).now_or_never().is_none(),
        "a fourth and its header are over 16 MiB"
    );
}

#[tokio::test]
async fn a_broken_connection_ends_both_ends_of_a_stream() {
    let mut rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    let mut stream = open(&peers, COPY).await;
    stream.send(number(1), Vec::new()).await.unwrap();
    stream.next().await.unwrap();
    let (mut sender, mut receiver) = stream.split();
    peers.shutdown().await;
    assert_eq!(receiver.next().await, Err(CallError::Disconnected));
    assert_eq!(sender.send(number(2), Vec::new()).await, Err(CallError::Disconnected));
    assert_eq!(rig.arrived().await, "broken");
}

#[tokio::test]
async fn a_stream_that_its_opener_drops_is_over_for_the_handler() {
    let mut rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    drop(open(&peers, COPY).await);
    assert_eq!(rig.arrived().await, "broken");
    assert!(ask(&peers, PeerClass::Append, ECHO, "").await.is_ok());
}

#[tokio::test]
async fn a_stream_beyond_the_limit_is_refused_and_the_others_go_on() {
    let rig = Rig::new(PeerOptions { streams: 1, ..PeerOptions::default() }).await;
    let peers = rig.node();
    let mut kept = open(&peers, COPY).await;
    let mut refused = open(&peers, COPY).await;
    assert!(matches!(refused.next().await, Err(CallError::Refused { code: CallRefusal::TOO_MANY, .. })));
    assert_eq!(refused.send(number(1), Vec::new()).await, Err(CallError::Disconnected));
    kept.send(number(2), Vec::new()).await.unwrap();
    assert_eq!(kept.next().await.unwrap().unwrap().head, number(2));
}

#[tokio::test]
async fn a_server_that_shuts_down_ends_its_streams() {
    let rig = Rig::new(PeerOptions::default()).await;
    let peers = rig.node();
    let mut stream = open(&peers, COPY).await;
    stream.send(number(1), Vec::new()).await.unwrap();
    stream.next().await.unwrap();
    rig.server.shutdown().await;
    assert!(stream.next().await.is_err());
}
