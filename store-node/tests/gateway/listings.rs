//! Listings: order across groups, prefixes, delimiters, pages, encodings.

use crate::server::Server;
use crate::signer::{Request, escape};

async fn filled(names: &[&str]) -> Server {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    for name in names {
        let path = format!("/bucket/{}", escape(name).replace("%2F", "/"));
        server.put(&path, "").await;
    }
    server
}

#[tokio::test]
async fn names_come_in_byte_order_over_all_groups() {
    let names: Vec<String> = (0..100).map(|number| format!("job-{:03}", (number * 37) % 100)).collect();
    let server = filled(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut wanted = names;
    wanted.sort();
    assert_eq!(server.get("/bucket?list-type=2").await.elements("Key"), wanted);
    assert_eq!(server.get("/bucket").await.elements("Key"), wanted);
    assert_eq!(server.get("/bucket?list-type=2&prefix=job-01").await.elements("Key"), wanted[10..20]);
}

#[tokio::test]
async fn a_prefix_marker_or_delimiter_longer_than_any_name_is_refused() {
    let server = filled(&["a"]).await;
    let (longest, longer) = ("a".repeat(1024), "a".repeat(1025));
    for parameter in [
        "list-type=2&prefix=",
        "list-type=2&start-after=",
        "list-type=2&delimiter=",
        "prefix=",
        "marker=",
        "versions=&prefix=",
        "versions=&key-marker=",
        "versions=&version-id-marker=null&key-marker=",
        "uploads=&prefix=",
        "uploads=&key-marker=",
    ] {
        let answer = server.get(&format!("/bucket?{parameter}{longest}")).await;
        assert_eq!(answer.status, 200, "{parameter}: {}", answer.text());
        let answer = server.get(&format!("/bucket?{parameter}{longer}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "KeyTooLongError"), "{parameter}");
    }
}

#[tokio::test]
async fn pages_of_any_size_join_without_gap_or_double() {
    let names = ["a", "b/1", "b/2", "b/3", "c", "d/1", "e", "f"];
    let server = filled(&names).await;
    for delimiter in ["", "&delimiter=/"] {
        let whole = server.get(&format!("/bucket?list-type=2{delimiter}")).await;
        for size in 1..=9 {
            let (mut keys, mut prefixes, mut token) = (Vec::new(), Vec::new(), String::new());
            loop {
                let target = format!("/bucket?list-type=2&max-keys={size}{delimiter}{token}");
                let page = server.get(&target).await;
                assert_eq!(page.status, 200, "{}", page.text());
                keys.extend(page.elements("Key"));
                prefixes.extend(page.elements("Prefix").into_iter().filter(|prefix| !prefix.is_empty()));
                match page.element("NextContinuationToken") {
                    Some(next) => token = format!("&continuation-token={}", escape(&next)),
                    None => break,
                }
            }
            assert_eq!(keys, whole.elements("Key"), "{size} {delimiter}");
            let wanted: Vec<String> =
                whole.elements("Prefix").into_iter().filter(|prefix| !prefix.is_empty()).collect();
            assert_eq!(prefixes, wanted, "{size} {delimiter}");
        }
    }
}

#[tokio::test]
async fn the_first_version_pages_by_marker() {
    let server = filled(&["a", "b/1", "b/2", "c"]).await;
    let first = server.get("/bucket?max-keys=2&delimiter=/").await;
    assert_eq!(first.elements("Key"), ["a"]);
    assert_eq!(first.element("NextMarker").as_deref(), Some("b/"));
    let second = server.get("/bucket?max-keys=2&delimiter=/&marker=b/").await;
    assert_eq!(
        (second.elements("Key"), second.element("IsTruncated").as_deref()),
        (vec!["c".into()], Some("false"))
    );
    let plain = server.get("/bucket?max-keys=1").await;
    assert_eq!((plain.element("NextMarker"), plain.element("IsTruncated").as_deref()), (None, Some("true")));
    assert_eq!(server.get("/bucket?marker=b/1").await.elements("Key"), ["b/2", "c"]);
}

#[tokio::test]
async fn no_keys_at_all_may_be_asked_for() {
    let server = filled(&["a"]).await;
    let page = server.get("/bucket?list-type=2&max-keys=0").await;
    assert_eq!(
        (page.element("KeyCount").as_deref(), page.element("IsTruncated").as_deref()),
        (Some("0"), Some("false"))
    );
    for wrong in ["max-keys=-1", "max-keys=x"] {
        assert_eq!(server.get(&format!("/bucket?list-type=2&{wrong}")).await.status, 400, "{wrong}");
    }
    let token = server.get("/bucket?list-type=2&continuation-token=nonsense").await;
    assert_eq!((token.status, token.code().as_str()), (400, "InvalidArgument"));
}

#[tokio::test]
async fn names_are_escaped_on_request() {
    let server = filled(&["a b", "ä+1", "x&y"]).await;
    let plain = server.get("/bucket?list-type=2").await;
    assert_eq!(plain.elements("Key"), ["a b", "x&amp;y", "ä+1"]);
    let escaped = server.get("/bucket?list-type=2&encoding-type=url").await;
    assert_eq!(escaped.elements("Key"), ["a%20b", "x%26y", "%C3%A4%2B1"]);
    assert_eq!(server.get("/bucket?encoding-type=other").await.code(), "InvalidArgument");
}

#[tokio::test]
async fn a_listing_starts_behind_a_name_and_shows_owners_on_request() {
    let server = filled(&["a", "b", "c"]).await;
    assert_eq!(server.get("/bucket?list-type=2&start-after=a").await.elements("Key"), ["b", "c"]);
    assert!(server.get("/bucket?list-type=2").await.element("Owner").is_none());
    let owned = server.get("/bucket?list-type=2&fetch-owner=true").await;
    assert_eq!(owned.element("DisplayName").as_deref(), Some("alice"));
}

#[tokio::test]
async fn a_listing_hides_what_is_deleted() {
    let server = filled(&["a", "b"]).await;
    server.call(Request::new("DELETE", "/bucket/a")).await;
    assert_eq!(server.get("/bucket?list-type=2").await.elements("Key"), ["b"]);
}
