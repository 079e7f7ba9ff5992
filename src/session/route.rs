//! Which path is what, on which listener, and with which methods.

use crate::error::Refusal;
use crate::wire::http::request::Method;

/// Which door a connection came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `--listen`: subscribes and nothing else.
    Public,
    /// `--proxy-listen`, while the PROXY header is due; once it has come, the connection is as any
    /// at the public door.
    Proxied,
    /// `--publish-listen`: publishes, manages channels, administers.
    Publisher,
}

/// What a path stands for. Channel names are still percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/sub/{channels}`
    Subscribe(&'a str),
    /// `/pub/{channels}`
    Publish(&'a str),
    /// `/pub`
    PublishMany,
    /// `/channels`
    Channels,
    /// `/channels/{channel}`
    Channel(&'a str),
    /// `/channels/{channel}/renew`
    Renew(&'a str),
    /// `/livez`: the loop turns.
    Live,
    /// `/readyz`: it may be sent work.
    Ready,
    /// `/healthz`: the load balancer's question; 404 while draining.
    Health,
    /// `/metrics`
    Metrics,
    /// `/stats`
    Stats,
    /// `/cluster`
    Cluster,
    /// A use case, at the path that it says.
    Call,
    /// `/usecases`
    Usecases,
    /// `/usecases/{name}`
    Usecase(&'a str),
    /// `/scheduler`: how back-ends are chosen.
    Scheduler,
}

impl<'a> Route<'a> {
    /// What lives at a path behind a door, if anything.
    pub fn find(door: Door, path: &'a str) -> Option<Route<'a>> {
        let common = match path {
            "/livez" => Some(Route::Live),
            "/readyz" => Some(Route::Ready),
            "/healthz" => Some(Route::Health),
            _ => None,
        };
        common.or_else(|| match door {
            Door::Public | Door::Proxied => {
                path.strip_prefix("/sub/").filter(is_segment).map(Route::Subscribe)
            }
            Door::Publisher => Route::find_publisher(path),
        })
    }

    fn find_publisher(path: &'a str) -> Option<Route<'a>> {
        match path {
            "/pub" => return Some(Route::PublishMany),
            "/channels" => return Some(Route::Channels),
            "/metrics" => return Some(Route::Metrics),
            "/stats" => return Some(Route::Stats),
            "/cluster" => return Some(Route::Cluster),
            "/usecases" => return Some(Route::Usecases),
            "/scheduler" => return Some(Route::Scheduler),
            _ => {}
        }
        if let Some(channels) = path.strip_prefix("/pub/") {
            return Some(channels).filter(is_segment).map(Route::Publish);
        }
        if let Some(name) = path.strip_prefix("/usecases/") {
            return Some(name).filter(is_segment).map(Route::Usecase);
        }
        let channel = path.strip_prefix("/channels/")?;
        match channel.strip_suffix("/renew") {
            Some(channel) => Some(channel).filter(is_segment).map(Route::Renew),
            None => Some(channel).filter(is_segment).map(Route::Channel),
        }
    }

    /// The methods it answers, as the Allow field has them.
    pub fn allow(self) -> &'static str {
        match self {
            Route::Publish(_) | Route::PublishMany | Route::Renew(_) => "POST, OPTIONS",
            Route::Channels => "GET, HEAD, POST, OPTIONS",
            Route::Channel(_) => "GET, HEAD, DELETE, OPTIONS",
            Route::Usecase(_) => "GET, HEAD, PUT, DELETE, OPTIONS",
            Route::Scheduler => "GET, HEAD, PUT, OPTIONS",
            Route::Call => "GET, OPTIONS",
            Route::Subscribe(_)
            | Route::Live
            | Route::Ready
            | Route::Health
            | Route::Metrics
            | Route::Stats
            | Route::Cluster
            | Route::Usecases => "GET, HEAD, OPTIONS",
        }
    }

    /// Whether it answers this method; else 405. A test holds it against
    /// [`Route::allow`].
    pub fn admits(self, method: Method) -> Result<(), Refusal> {
        let posts = matches!(self, Route::Publish(_) | Route::PublishMany | Route::Renew(_));
        let admitted = match method {
            Method::Options => true,
            Method::Get => !posts,
            Method::Head => !posts && self != Route::Call,
            Method::Post => posts || self == Route::Channels,
            Method::Delete => matches!(self, Route::Channel(_) | Route::Usecase(_)),
            Method::Put => matches!(self, Route::Usecase(_) | Route::Scheduler),
            Method::Patch | Method::Trace => false,
        };
        if admitted { Ok(()) } else { Err(Refusal::MethodNotAllowed) }
    }

    /// Whether a body means something here.
    pub fn takes_body(self, method: Method) -> bool {
        let route =
            matches!(self, Route::Publish(_) | Route::PublishMany | Route::Channels | Route::Renew(_));
        route && method == Method::Post
            || matches!(self, Route::Usecase(_) | Route::Scheduler) && method == Method::Put
    }

    /// Whether it concerns the node as a whole, of whose shards only the hub can answer it.
    pub fn is_for_the_hub(self) -> bool {
        !matches!(self, Route::Subscribe(_) | Route::Call | Route::Live | Route::Ready | Route::Health)
    }

    /// Whether only a node that has caught up with the others can answer it.
    pub fn needs_history(self) -> bool {
        let of_channels = !matches!(
            self,
            Route::Metrics
                | Route::Stats
                | Route::Cluster
                | Route::Call
                | Route::Usecases
                | Route::Usecase(_)
                | Route::Scheduler
        );
        !self.is_health() && of_channels
    }

    /// Whether it is one of the questions of load balancers and supervisors, which
    /// need no token.
    pub fn is_health(self) -> bool {
        matches!(self, Route::Live | Route::Ready | Route::Health)
    }
}

/// A path segment is not empty and has no slash.
fn is_segment(text: &&str) -> bool {
    !text.is_empty() && !text.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        use Door::{Public, Publisher};
        for (door, path, expected) in [
            (Public, "/sub/a,b", Some(Route::Subscribe("a,b"))),
            (Public, "/sub/", None),
            (Public, "/sub", None),
            (Public, "/sub/a/b", None),
            (Public, "/pub/a", None),
            (Public, "/channels", None),
            (Public, "/metrics", None),
            (Public, "/stats", None),
            (Public, "/healthz", Some(Route::Health)),
            (Publisher, "/healthz", Some(Route::Health)),
            (Publisher, "/sub/a", None),
            (Publisher, "/pub", Some(Route::PublishMany)),
            (Publisher, "/pub/a", Some(Route::Publish("a"))),
            (Publisher, "/channels", Some(Route::Channels)),
            (Publisher, "/channels/a", Some(Route::Channel("a"))),
            (Publisher, "/channels/a/renew", Some(Route::Renew("a"))),
            (Publisher, "/channels/renew", Some(Route::Channel("renew"))),
            (Publisher, "/channels//renew", None),
            (Publisher, "/channels/a/b/renew", None),
            (Publisher, "/", None),
        ] {
            assert_eq!(Route::find(door, path), expected, "{door:?} {path}");
        }
    }

    #[test]
    fn the_allow_field_names_what_is_admitted() {
        use Method::*;
        for route in [
            Route::Subscribe("a"),
            Route::Publish("a"),
            Route::PublishMany,
            Route::Channels,
            Route::Channel("a"),
            Route::Renew("a"),
            Route::Live,
            Route::Ready,
            Route::Health,
            Route::Metrics,
            Route::Stats,
            Route::Cluster,
            Route::Call,
            Route::Usecases,
            Route::Usecase("a"),
            Route::Scheduler,
        ] {
            for method in [Get, Head, Post, Put, Delete, Options, Patch, Trace] {
                let named = route.allow().split(", ").any(|allowed| allowed == method.as_str());
                assert_eq!(route.admits(method).is_ok(), named, "{route:?} {method:?}");
            }
        }
    }

    #[test]
    fn methods() {
        assert_eq!(Route::Publish("a").admits(Method::Post), Ok(()));
        assert_eq!(Route::Publish("a").admits(Method::Get), Err(Refusal::MethodNotAllowed));
        assert_eq!(Route::Subscribe("a").admits(Method::Post), Err(Refusal::MethodNotAllowed));
        assert_eq!(Route::Channel("a").admits(Method::Delete), Ok(()));
        assert!(!Route::Channel("a").takes_body(Method::Delete));
        assert!(Route::Channels.takes_body(Method::Post));
    }
}
