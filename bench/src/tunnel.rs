//! What the proxies that Debian packages are configured as: one worker, and a tunnel once the upgrade is answered, as each
//! one's own documentation has it for WebSocket. No access log.

use std::path::Path;

use crate::server::{Kind, Ports};

/// The configuration of the tunnel `kind`, which keeps its files in `folder`; `None` if it is not one.
#[must_use]
pub fn configuration(kind: Kind, ports: Ports, folder: &Path) -> Option<String> {
    let Ports { server, upstream, .. } = ports;
    let folder = folder.display();
    match kind {
        Kind::Nginx => Some(format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid nginx-{server}.pid;\n\
             error_log stderr crit;\nevents {{ worker_connections 20000; }}\n\
             http {{\n\
             access_log off;\n\
             client_body_temp_path {folder}/nginx-body;\nproxy_temp_path {folder}/nginx-proxy;\n\
             fastcgi_temp_path {folder}/nginx-fastcgi;\nuwsgi_temp_path {folder}/nginx-uwsgi;\n\
             scgi_temp_path {folder}/nginx-scgi;\n\
             server {{\n\
             listen 127.0.0.1:{server} backlog=4096;\n\
             location / {{\n\
             proxy_pass http://127.0.0.1:{upstream};\n\
             proxy_http_version 1.1;\n\
             proxy_set_header Upgrade $http_upgrade;\n\
             proxy_set_header Connection \"upgrade\";\n\
             proxy_set_header Host $host;\n\
             proxy_read_timeout 1h;\nproxy_send_timeout 1h;\n\
             }}\n}}\n}}\n"
        )),
        Kind::HaProxy => Some(format!(
            "global\n  nbthread 1\n  maxconn 9500\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  timeout tunnel 1h\n\
             frontend bench\n  bind 127.0.0.1:{server} backlog 4096\n  default_backend application\n\
             backend application\n  server only 127.0.0.1:{upstream}\n"
        )),
        Kind::Caddy => Some(format!(
            "{{\n\tadmin off\n\tauto_https off\n}}\n\
             http://127.0.0.1:{server} {{\n\treverse_proxy 127.0.0.1:{upstream}\n}}\n"
        )),
        _ => None,
    }
}
