//! The request that opened a connection, where rules read it.

use crate::policy::RequestView;
use std::borrow::Cow;
use std::net::IpAddr;

/// A copy that outlives the request.
#[derive(Clone, Debug)]
pub struct KeptRequest {
    pub path: Box<str>,
    /// Decoded.
    pub query: Vec<(Box<str>, Box<str>)>,
    /// Names in lower case.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Of the endpoint's path.
    pub vars: Vec<(Box<str>, Box<str>)>,
    pub ip: IpAddr,
}

impl KeptRequest {
    pub fn held_bytes(&self) -> usize {
        let all = [&self.query, &self.headers, &self.vars];
        let texts = all.into_iter().flatten().map(|(name, value)| name.len() + value.len() + 64);
        size_of::<KeptRequest>() + self.path.len() + texts.sum::<usize>()
    }
}

fn find<'a>(pairs: &'a [(Box<str>, Box<str>)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| **n == *name).map(|(_, value)| &**value)
}

impl RequestView for KeptRequest {
    fn path(&self) -> &str {
        &self.path
    }
    fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        find(&self.query, name).map(Cow::Borrowed)
    }
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        find(&self.headers, name).map(Cow::Borrowed)
    }
    fn ip(&self) -> IpAddr {
        self.ip
    }
    fn var(&self, name: &str) -> Option<&str> {
        find(&self.vars, name)
    }
}
