//! Networks: the host, the outside, each other.

use super::{Outcome, contains, remove, same, start};
use crate::host::{fetch, noise, serve};
use crate::machine::Machine;

/// The guest's way out, which is the host.
fn gateway(machine: &Machine) -> Result<String, String> {
    let routes = machine.script(&["--network", "host"], "ip -4 route")?;
    let way = routes.lines().find_map(|line| line.strip_prefix("default via "));
    way.and_then(|rest| rest.split(' ').next()).map(str::to_owned).ok_or(format!("no gateway in {routes:?}"))
}

pub(super) fn ping(machine: &Machine) -> Outcome {
    let text = machine.script(&[], &format!("ping -c 3 -w 20 {}", gateway(machine)?))?;
    contains("ping", &text, " 0% packet loss")
}

/// A server on the host's loopback, by the gateway's address.
pub(super) fn fetch_from_host(machine: &Machine) -> Outcome {
    let bytes = noise(4 << 20);
    let port = serve(bytes.clone());
    let address = gateway(machine)?;
    let script = format!("wget -q -O - http://{address}:{port}/");
    machine.run(&["sh", "-ec", &script])?.printed(&bytes)
}

/// A web server in a container, asked from the host.
pub(super) fn published_port(machine: &Machine) -> Outcome {
    let script = "dd if=/dev/zero bs=1M count=2 2>/dev/null | tr '\\0' x > /var/www/large; echo served > /var/www/index.html
        exec httpd -f -h /var/www";
    start(machine, "web", &["-p", "80:80"], &["sh", "-c", script])?;
    let port = machine.place.web_port;
    let page = fetch(port, "/index.html");
    let large = fetch(port, "/large");
    remove(machine, "web");
    same("the page", &String::from_utf8_lossy(&page?), "served\n")?;
    let large = large?;
    if large.len() != 2 << 20 || large.iter().any(|&byte| byte != b'x') {
        return Err(format!("the large file came as {} bytes", large.len()));
    }
    Ok(())
}

/// By name on a network of their own; not from another network.
pub(super) fn two_on_one_network(machine: &Machine) -> Outcome {
    machine.ok(&["network", "create", "shared"])?;
    let script = "echo hello > /var/www/index.html; exec httpd -f -h /var/www";
    start(machine, "server", &["--network", "shared"], &["sh", "-c", script])?;
    let ask = "for i in 1 2 3 4 5; do timeout 5 wget -q -O - http://server/ && break; sleep 1; done";
    let inside = machine.script(&["--network", "shared"], ask);
    let address =
        machine.ok(&["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "server"]);
    let outside = address.and_then(|address| {
        machine.script(&[], &format!("timeout 3 wget -q -O - http://{address}/ || echo unreachable"))
    });
    remove(machine, "server");
    machine.ok(&["network", "rm", "shared"])?;
    same("the answer", &inside?, "hello")?;
    same("the answer on another network", &outside?, "unreachable")
}

/// Who reaches dockerd's port owns the guest: containers do not, neither at the bridge nor at the guest's address.
pub(super) fn daemon_port_is_closed(machine: &Machine) -> Outcome {
    let addresses =
        machine.script(&["--network", "host"], "ip -4 -o addr show eth0; ip -4 -o addr show docker0")?;
    let script = addresses
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3)?.split('/').next())
        .map(|address| {
            format!("timeout 3 wget -q -O - http://{address}:2375/_ping && echo || echo dropped\n")
        })
        .collect::<String>();
    same("the answers in the guest itself", &machine.script(&["--network", "host"], &script)?, "OK\nOK")?;
    same("the answers in a container", &machine.script(&[], &script)?, "dropped\ndropped")
}
