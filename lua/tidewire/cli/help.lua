-- help.lua -- what `tidewire help` prints; man/tidewire.1 says the same at length.
--
-- scripts/check_man.lua compares the two, and both with the options of settings.lua.

return [[
Usage: tidewire [run] [FILE] [options]
       tidewire check FILE
       tidewire new DIR
       tidewire reload --pid-file F
       tidewire talk URL
       tidewire cluster check URL...
       tidewire help | version

  run      runs an app or a handler: FILE, app.lua of the folder FILE, or app.lua of
           this folder. "run" may be left out
  check    loads everything, opens no socket; exits 0, or 2 with one line a mistake
  new      creates a small app with a spec: tidewire new DIR
  reload   lets a running server reload its code, and prints the result
  talk     a WebSocket client: sends each line of input, prints each message
  cluster  cluster check redis://HOST: are these Redis servers fit for a cluster, and what
           is wrong; without a URL that of TIDEWIRE_CLUSTER. Exits 1 with a problem
  help, version   also --help, -h, --version, -v

Options, with the environment variable that sets the same (the command line overrides it):
  --listen ADDR          an address to listen on, 127.0.0.1:8080 by default; repeatable.
                         HOST:PORT, [IPv6]:PORT, *:PORT, unix:/path     TIDEWIRE_LISTEN
  --workers N            threads, or "auto"                              TIDEWIRE_WORKERS
  --admin ADDR           /healthz /readyz /metrics /stats; off unless set  TIDEWIRE_ADMIN
  --admin-hosts LIST     names by which it may be asked for, separated by commas, beside
                         localhost and addresses                 TIDEWIRE_ADMIN_HOSTS
  --state FILE           what outlives a restart is written there at the end, and taken
                         from there at the start                             TIDEWIRE_STATE
  --cluster URL          of the Redis servers that join several machines, separated by
                         commas: redis://host:6379                  TIDEWIRE_CLUSTER
  --trusted-proxies LIST  addresses and networks of proxies, separated by commas, whose
                         X-Forwarded-For and Forwarded count          TIDEWIRE_TRUSTED_PROXIES
  --proxy-protocol       their connections begin with a PROXY header    TIDEWIRE_PROXY_PROTOCOL
  --tls-certificate F    TLS (https, wss) with this certificate and its chain, in PEM
                                                                   TIDEWIRE_TLS_CERTIFICATE
  --tls-key F            its key, in PEM                                 TIDEWIRE_TLS_KEY
  --watch                reloads the code when a script is saved
  --log-level L          debug, info, warn or error                      TIDEWIRE_LOG_LEVEL
  --log-format F         text, json or pretty; pretty on a terminal      TIDEWIRE_LOG_FORMAT
  --log-file F           instead of stderr; opened again on SIGUSR1      TIDEWIRE_LOG_FILE
  --pid-file F           the process's number, while it runs             TIDEWIRE_PID_FILE
  --user NAME[:GROUP]    root's rights end once the ports are open          TIDEWIRE_USER
  --seccomp              forbids system calls that no server needs
  --drain-seconds S      how long SIGTERM waits for clients, 10      TIDEWIRE_DRAIN_SECONDS
  --lame-duck-seconds S  before that, /readyz answers 503, all is served, 0
                                                                 TIDEWIRE_LAME_DUCK_SECONDS
  --drain-jitter S       spreads the closes over S of the drain seconds, 0
                                                                      TIDEWIRE_DRAIN_JITTER
  --upgrade              receives the sockets of the process of --pid-file, which drains

Options of talk:
  --header "NAME: VALUE"  a header of the handshake; may be repeated
  --subprotocol NAME       a subprotocol to offer; may be repeated, the best first
  --insecure               accepts any certificate of a wss server
  --wait S                 after the input's end: closes when nothing came for S seconds, 1;
                           0 in a terminal

Options of cluster check:
  --prefix NAME            how the cluster's keys begin, tw
  --json                   prints JSON

An address that is asked for uses the socket that systemd passes for it (LISTEN_FDS). Where
no address is asked for, all passed sockets are used. NOTIFY_SOCKET and WATCHDOG_USEC are
served.
Signals: SIGTERM and SIGINT close every connection with 1001, then end the server (a second
one ends it at once). SIGHUP reloads the code, SIGUSR1 opens the log file again.
Exit codes: 0 clean, 1 failed while running, 2 bad usage or configuration.
]]
