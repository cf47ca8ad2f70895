//! Sockets that were opened before the program began, by systemd's rules: so many from descriptor 3 on, each with a name that
//! says which listener it is for.
//!
//! A socket that is for no listener is an error, and never left unused. Accepts nothing: the server does.

use std::env;
use std::net::{SocketAddr, TcpListener};

use drawgate::config::ListenerConfig;
use listenfd::ListenFd;

use crate::Failure;

/// The sockets that were handed over, with what they are called.
pub(crate) struct Inherited(Vec<(Option<String>, TcpListener)>);

/// A socket that was handed over for a listener.
pub(crate) struct Given {
    pub(crate) listener: String,
    pub(crate) socket: TcpListener,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// That is not where the configuration says.
    pub(crate) is_elsewhere: bool,
}

impl Inherited {
    /// Takes them; to be called once, before there is a second thread, since it changes the environment.
    pub(crate) fn take() -> Result<Self, Failure> {
        let mut descriptors = ListenFd::from_env();
        let names = names(env::var("LISTEN_FDNAMES").ok().as_deref(), descriptors.len())?;
        let mut sockets = Vec::with_capacity(names.len());
        for (position, name) in names.into_iter().enumerate() {
            let socket = descriptors.take_tcp_listener(position).map_err(|error| {
                let named = quoted(name.as_deref());
                Failure(format!(
                    "the service manager hands over a socket {named} which is no TCP socket: {error}; \
                     ListenStream= with an address and a port makes one"
                ))
            })?;
            sockets.extend(socket.map(|socket| (name, socket)));
        }
        Ok(Self(sockets))
    }

    /// Finds the listener of each. Listeners that are left open their own.
    pub(crate) fn for_listeners(self, listeners: &[ListenerConfig]) -> Result<Vec<Given>, Failure> {
        let names: Vec<_> = self.0.iter().map(|(name, _)| name.as_deref()).collect();
        let known: Vec<_> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        let places = places(&names, &known)?;
        let given = self.0.into_iter().zip(places).map(|((_, socket), place)| {
            let ListenerConfig { name, address: configured, .. } = &listeners[place];
            let address = socket.local_addr().map_err(|error| {
                Failure(format!("the socket that is handed over for listener {name} has no address: {error}"))
            })?;
            // Port 0 is any.
            let is_elsewhere = configured.port() != 0 && *configured != address;
            Ok(Given { listener: name.clone(), socket, address, is_elsewhere })
        });
        given.collect()
    }
}

/// What `count` sockets are called in `LISTEN_FDNAMES`; systemd writes `unknown` for those that have no name.
fn names(text: Option<&str>, count: usize) -> Result<Vec<Option<String>>, Failure> {
    let Some(text) = text.filter(|text| count > 0 && !text.is_empty()) else { return Ok(vec![None; count]) };
    let names: Vec<_> =
        text.split(':').map(|name| (!matches!(name, "" | "unknown")).then(|| name.to_owned())).collect();
    if names.len() == count {
        return Ok(names);
    }
    Err(Failure(format!(
        "the service manager hands over {count} sockets (LISTEN_FDS) and {} names (LISTEN_FDNAMES): there must be a name for each",
        names.len()
    )))
}

/// Which of the `listeners` each socket is for.
fn places(names: &[Option<&str>], listeners: &[&str]) -> Result<Vec<usize>, Failure> {
    let mut places = Vec::with_capacity(names.len());
    for &name in names {
        let place = listeners.iter().position(|listener| Some(*listener) == name);
        // Where there is one of each there is no doubt. A socket unit that says nothing gives its own name.
        let is_unnamed = name.is_none_or(|name| name.ends_with(".socket"));
        let only = (is_unnamed && names.len() == 1 && listeners.len() == 1).then_some(0);
        let known = listeners.join(", ");
        let Some(place) = place.or(only) else {
            return Err(Failure(format!(
                "the service manager hands over a socket {}, and the configuration has no such listener but: {known}; \
                 write one of these as FileDescriptorName= in the socket's unit",
                quoted(name)
            )));
        };
        if places.contains(&place) {
            return Err(Failure(format!(
                "the service manager hands over two sockets {}, and a listener has one: give each a listener and a unit \
                 of its own, with its name as FileDescriptorName= (the listeners are: {known})",
                quoted(name)
            )));
        }
        places.push(place);
    }
    Ok(places)
}

fn quoted(name: Option<&str>) -> String {
    name.map_or_else(|| "without a name".to_owned(), |name| format!("named {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(names: &[Option<&str>], listeners: &[&str]) -> Result<Vec<usize>, String> {
        places(names, listeners).map_err(|Failure(text)| text)
    }

    #[test]
    fn sockets_go_to_the_listeners_of_their_names_in_any_order() {
        let listeners = ["public", "inside", "unix.socket"];
        assert_eq!(placed(&[Some("inside"), Some("public")], &listeners), Ok(vec![1, 0]));
        assert_eq!(placed(&[Some("unix.socket")], &listeners), Ok(vec![2]));
        assert_eq!(placed(&[], &listeners), Ok(vec![]));
    }

    #[test]
    fn a_single_socket_without_a_name_is_for_a_single_listener_and_for_no_one_of_two() {
        for unnamed in [None, Some("drawgate.socket")] {
            assert_eq!(placed(&[unnamed], &["public"]), Ok(vec![0]));
            for (names, listeners) in
                [(vec![unnamed], vec!["public", "inside"]), (vec![unnamed, unnamed], vec!["public"])]
            {
                let told = placed(&names, &listeners).unwrap_err();
                assert!(told.contains(&listeners.join(", ")), "{told}");
                assert!(told.contains(unnamed.unwrap_or("without a name")), "{told}");
            }
        }
    }

    #[test]
    fn a_socket_that_is_for_no_listener_or_for_one_that_has_one_is_told_with_the_names_of_both() {
        let told = placed(&[Some("web")], &["public"]).unwrap_err();
        assert!(told.contains(r#"named "web""#) && told.contains("public"), "{told}");
        let told = placed(&[Some("public"), Some("public")], &["public", "inside"]).unwrap_err();
        assert!(told.contains(r#"two sockets named "public""#) && told.contains("inside"), "{told}");
    }

    #[test]
    fn there_are_as_many_names_as_sockets_or_none() {
        let named = |text, count| names(text, count).map_err(|Failure(text)| text);
        let public = || Some("public".to_owned());
        assert_eq!(named(None, 2), Ok(vec![None, None]));
        assert_eq!(named(Some(""), 1), Ok(vec![None]));
        assert_eq!(named(Some("public:unknown:"), 3), Ok(vec![public(), None, None]));
        assert_eq!(named(Some("left:over"), 0), Ok(vec![]));
        let told = named(Some("public"), 2).unwrap_err();
        assert!(told.contains("2 sockets") && told.contains("1 names"), "{told}");
    }
}
