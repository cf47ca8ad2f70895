//! R: what a whole process holds.

use std::thread;
use std::time::Duration;

use crate::support::{Client, Program, echo, eventually};

#[test]
fn r09_an_idle_connection_holds_less_than_3_kib() {
    const CONNECTIONS: u64 = 2000;
    let program = Program::start(&echo("", ""));
    // What the process needs once and for all is there already.
    for _ in 0..100 {
        let mut client = program.open();
        client.echo(&[7; 1024]);
        client.close();
    }
    let before = program.resident_bytes();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = program.open();
            client.echo(&[7; 1024]);
            client
        })
        .collect();
    let each = program.resident_bytes().saturating_sub(before) / CONNECTIONS;
    eprintln!("{each} bytes of memory an idle connection, {CONNECTIONS} of them");
    assert_eq!(program.metric(r#"drawgate_connections{route="echo"}"#), CONNECTIONS);
    assert!(each < 3 * 1024, "{each} bytes");
    assert!(each > 100, "{each} bytes: nothing was measured");
    drop(clients);
}

#[test]
fn r10_out_of_descriptors_clients_are_told_live_connections_go_on_and_it_recovers() {
    let program = Program::start(&echo("", ""));
    let mut live: Vec<_> = (0..20).map(|_| program.open()).collect();
    let open = program.descriptors();
    let free = (0..).find(|number| !open.contains(number)).unwrap();
    // From now on there is none but the one in reserve.
    program.limit_descriptors(Some(free));
    let mut crowd: Vec<_> = (0..200).map(|_| Client::connect(program.address)).collect();
    crowd.iter_mut().for_each(Client::request_upgrade);
    let heads: Vec<_> = crowd.iter_mut().map(Client::read_head).collect();
    // Each is told when to come back, and not all of them at once.
    let seconds =
        |head: &String| head.split("Retry-After: ").nth(1)?.split("\r\n").next()?.parse::<u32>().ok();
    let is_refusal = |head: &&String| {
        head.starts_with("HTTP/1.1 503 ") && seconds(head).is_some_and(|seconds| (10..=20).contains(&seconds))
    };
    assert_eq!(heads.iter().filter(is_refusal).count(), 200, "{heads:?}");
    live.iter_mut().for_each(|client| client.echo(b"still here"));
    spends_little(&program);

    program.limit_descriptors(None);
    program.open().echo(b"again");
    let ends = r#"drawgate_ends_total{reason="descriptors_exhausted",side="gateway"}"#;
    assert_eq!(program.metric(ends), 200);
    assert!(program.metric("drawgate_descriptors_exhausted_total") >= 200);
    let is_logged = || program.records().iter().any(|record| record["reason"] == "descriptors_exhausted");
    eventually(is_logged, || program.log());
}

#[test]
fn r10_without_even_the_reserve_clients_wait_and_nothing_spins() {
    let program = Program::start(&echo("", ""));
    let mut live: Vec<_> = (0..20).map(|_| program.open()).collect();
    program.limit_descriptors(Some(3));
    let mut crowd: Vec<_> = (0..100).map(|_| Client::connect(program.address)).collect();
    crowd.iter_mut().for_each(Client::request_upgrade);
    live.iter_mut().for_each(|client| client.echo(b"still here"));
    spends_little(&program);
    live.iter_mut().for_each(|client| client.echo(b"still here"));

    program.limit_descriptors(None);
    for client in &mut crowd {
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }
    assert!(program.metric("drawgate_descriptors_exhausted_total") > 0);
}

#[test]
fn r10_connections_are_bounded_by_the_configuration_and_by_descriptors_whichever_are_fewer() {
    let program = Program::start(&echo("", "[server]\nconnections_max = 2"));
    let _live = [program.open(), program.open()];
    let mut refused = Client::connect(program.address);
    refused.request_upgrade();
    let head = refused.read_head();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let warning = "fewer descriptors than server.connections_max";
    assert!(!program.log().contains(warning), "{}", program.log());

    let program = Program::start(&echo("", "[server]\nconnections_max = 1073741824"));
    program.open().echo(b"hello");
    assert!(program.log().contains(warning), "{}", program.log());
}

/// Uses less than a tenth of one processor, though clients wait.
fn spends_little(program: &Program) {
    let before = program.processor_ticks();
    thread::sleep(Duration::from_millis(500));
    let spent = program.processor_ticks() - before;
    assert!(spent <= 5, "{spent} hundredths of a second in half a second");
}

#[test]
fn r21_connects_and_ends_without_end_take_no_more_memory() {
    const ROUND: usize = 4000;
    let program = Program::start(&echo("", ""));
    let mut held = Vec::new();
    for _ in 0..6 {
        for number in 0..ROUND {
            match number % 4 {
                0 => {
                    let mut client = program.open();
                    client.echo(b"once");
                    client.close();
                }
                1 => program.open().reset(),
                2 => {
                    let mut client = Client::connect(program.address);
                    client.send(b"GET / HTTP/1.1\r\nHo");
                    client.reset();
                }
                _ => {
                    let mut client = Client::connect(program.address);
                    client.send(b"GET /nowhere HTTP/1.1\r\n\r\n");
                    client.read_head();
                    client.reset();
                }
            }
        }
        let live = r#"drawgate_connections{route="echo"}"#;
        eventually(|| program.metric(live) == 0, || "connections are left".to_owned());
        held.push(program.resident_bytes());
    }
    eprintln!("resident after each {ROUND} connections: {held:?}");
    // Half the rounds warm it up. What follows may not take even 50 bytes for each connection that came and went.
    let (early, late) = (held[2], held[5]);
    assert!(late.saturating_sub(early) < 3 * ROUND as u64 * 50, "{held:?}");
    eventually(|| program.descriptors().len() < 64, || format!("{:?}", program.descriptors()));
}
