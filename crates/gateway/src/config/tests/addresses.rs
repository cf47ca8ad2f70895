//! Proxies: what is trusted, and how they name their clients, belong together.

use super::*;

#[test]
fn trust_that_nothing_uses_and_names_that_nobody_may_give_are_problems() {
    let trust = "[firewall]\ntrusted_proxies = [\"10.0.0.0/8\"]";
    let proxied = with("tls = \"none\"", "tls = \"none\"\nproxy_protocol = \"any\"");
    for (text, kind, key) in [
        (format!("{LEAST}\n{trust}"), ProblemKind::Unused, "firewall.trusted_proxies"),
        (
            format!("{LEAST}\n{trust}\nclient_address_header = \"none\""),
            ProblemKind::Unused,
            "firewall.trusted_proxies",
        ),
        (
            format!("{LEAST}\n[firewall]\nclient_address_header = \"forwarded\""),
            ProblemKind::Missing,
            "firewall.client_address_header",
        ),
        (proxied.clone(), ProblemKind::Missing, "listeners.public.proxy_protocol"),
        (
            format!("{proxied}\n[firewall]\ntrusted_proxies = []"),
            ProblemKind::Missing,
            "listeners.public.proxy_protocol",
        ),
        // A list that cannot be read is one problem.
        (
            format!("{proxied}\n[firewall]\ntrusted_proxies = [\"x\"]"),
            ProblemKind::NotAllowed,
            "firewall.trusted_proxies[0]",
        ),
    ] {
        let problem = problem(&text);
        assert_eq!((problem.kind, problem.key.as_str()), (kind, key), "{problem}");
    }
    for text in [
        format!("{LEAST}\n{trust}\nclient_address_header = \"forwarded\""),
        format!("{proxied}\n{trust}"),
        format!("{proxied}\n{trust}\nclient_address_header = \"x_forwarded_for\""),
        format!("{LEAST}\n[firewall]\ntrusted_proxies = []\nclient_address_header = \"none\""),
    ] {
        assert_eq!(read(&text).unwrap().warnings, Vec::<String>::new());
    }
}

#[test]
fn a_network_that_is_there_twice_is_a_problem_however_it_is_written() {
    let text = format!(
        "{LEAST}\n[firewall]\nclient_address_header = \"forwarded\"\ntrusted_proxies = [\"10.0.0.0/8\", \"::ffff:10.0.0.0/104\"]"
    );
    let problem = problem(&text);
    assert_eq!((problem.kind, problem.key.as_str()), (ProblemKind::Duplicate, "firewall.trusted_proxies[1]"));
}

#[test]
fn too_many_networks_are_a_problem() {
    let list = |count: u32| {
        let networks: Vec<String> =
            (0..count).map(|bits| format!("\"{}/32\"", std::net::Ipv4Addr::from_bits(bits))).collect();
        format!(
            "{LEAST}\n[firewall]\nclient_address_header = \"forwarded\"\ntrusted_proxies = [{}]",
            networks.join(",")
        )
    };
    assert!(read(&list(1024)).is_ok());
    assert_eq!(problem(&list(1025)).kind, ProblemKind::NotAllowed);
}

#[test]
fn trust_in_everybody_is_warned_of() {
    let text = format!(
        "{LEAST}\n[firewall]\nclient_address_header = \"forwarded\"\ntrusted_proxies = [\"0.0.0.0/0\", \"10.0.0.0/8\"]"
    );
    let [warning] = &read(&text).unwrap().warnings[..] else { panic!("one warning") };
    assert!(warning.contains("0.0.0.0/0 trusts everybody"), "{warning}");
}
