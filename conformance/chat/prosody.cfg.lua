-- The chat's server: people with passwords, and a room; conformance/chat.py changes the port and the folder.
run_as_root = true
daemonize = false
data_path = "/var/lib/prosody"
log = { info = "*console" }

modules_enabled = { "disco", "pep", "ping", "roster", "saslauth", "websocket" }
modules_disabled = { "s2s", "tls", "offline" }
authentication = "internal_plain"
c2s_ports = {}
http_interfaces = { "127.0.0.1" }
http_ports = { 5280 }
https_ports = {}
http_default_host = "localhost"
-- TLS would end before it, at nginx.
consider_websocket_secure = true

VirtualHost "localhost"

Component "rooms.localhost" "muc"
    muc_room_locking = false
