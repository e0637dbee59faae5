//! Counters of the storage nodes, read from their Prometheus endpoints.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::connection::{Authority, Connection, text};
use crate::error::BenchError;

/// The counter of fdatasync calls of a node's log.
pub const LOG_SYNCS: &str = "twinkeep_log_syncs_total";

/// The counter of leaderships that a node gave away as planned.
pub const LEADERS_MOVED: &str = "twinkeep_raft_leaders_moved_total";

/// Where a node's metrics are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsAddress {
    authority: Authority,
    path: String,
}

impl MetricsAddress {
    /// Takes `http://host:port/path`.
    pub fn parse(url: &str) -> Result<Self, BenchError> {
        let (endpoint, path) = match url.match_indices('/').nth(2) {
            Some((at, _)) => url.split_at(at),
            None => (url, "/metrics"),
        };
        Ok(Self { authority: Authority::parse(endpoint)?, path: path.to_owned() })
    }

    /// Sum of all series of one metric; `None` when the node does not have it.
    pub async fn read(&self, metric: &str) -> Result<Option<f64>, BenchError> {
        let mut connection = Connection::open(&self.authority).await?;
        let request = Request::get(&self.path)
            .header("host", self.authority.as_str())
            .body(Full::new(Bytes::new()))
            .map_err(|error| BenchError::Transport { operation: "metrics", detail: error.to_string() })?;
        let answer = connection.send(request).await?;
        Ok(sum_of(&text(answer.into_body()).await?, metric))
    }
}

/// Sum of one metric over the nodes; `None` when there are none or one of them does not have it.
pub async fn sum_over(nodes: &[MetricsAddress], metric: &str) -> Result<Option<f64>, BenchError> {
    let mut sum = None;
    for node in nodes {
        let Some(value) = node.read(metric).await? else { return Ok(None) };
        *sum.get_or_insert(0.0) += value;
    }
    Ok(sum)
}

/// Sum of all series of `metric` in the text exposition format.
pub fn sum_of(exposition: &str, metric: &str) -> Option<f64> {
    let mut sum: Option<f64> = None;
    for line in exposition.lines() {
        let Some(rest) = line.strip_prefix(metric) else { continue };
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}').map(|(_, value)| value),
            None => rest.starts_with(' ').then_some(rest),
        };
        let word = value.and_then(|value| value.split_whitespace().next());
        if let Some(number) = word.and_then(|word| word.parse::<f64>().ok()) {
            *sum.get_or_insert(0.0) += number;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_metric_are_added_and_longer_names_left_out() {
        let text = "# HELP a_total Calls.\n# TYPE a_total counter\n\
                    a_total{disk=\"0\"} 3\na_total{disk=\"{1}\"} 4 1700000000\na_total_bytes 9\n";
        assert_eq!(sum_of(text, "a_total"), Some(7.0));
        assert_eq!(sum_of("a_total 5\n", "a_total"), Some(5.0));
        assert_eq!(sum_of(text, "b_total"), None);
    }

    #[test]
    fn a_metrics_address_has_a_path() {
        let address = MetricsAddress::parse("http://127.0.0.1:9100/metrics").unwrap();
        assert_eq!((address.authority.as_str(), address.path.as_str()), ("127.0.0.1:9100", "/metrics"));
        assert_eq!(MetricsAddress::parse("http://127.0.0.1:9100").unwrap(), address);
    }
}
