---@meta tidewire
-- tidewire.lua -- types of the public API, for editors (LuaCATS, as lua-language-server reads it).
--
-- Declares, runs nothing. docs/scripting.md and docs/configuration.md describe each name. In an
-- app, annotate the table that a file returns, and editors know the arguments of its hooks:
--
--     ---@type tidewire.Handler
--     local handler = { handle_message = function(conn, message) conn:send(message) end }
--     return handler
--
-- scripts/check_api.lua checks that this file, the program and the docs agree.

---@alias tidewire.MessageKind "text"|"binary"

---@alias tidewire.Size integer|string  bytes, or a text with a unit: 65536, "64K", "1M", "1G"

-- ---- handlers ----

---@alias tidewire.Origins
---| string
---| string[]
---| fun(origin: string, request: tidewire.Request): boolean?, integer?, string?

---@alias tidewire.Status integer|string|tidewire.Refusal|nil
---@alias tidewire.Validate
---| fun(request: tidewire.Request): table|boolean|nil, tidewire.Status, string|tidewire.Refusal|nil

--- Hooks and options of an endpoint. For one connection hooks never overlap, and all but `validate`
--- may wait. Results of on_start, handle_message, send_ping and on_drain count only if they are nil
--- and an error.
---@class tidewire.Handler
--- validate: returns a table (fields of `conn`) or true to accept; nil or false, then a status
--- (403; 4000 to 4999: accept, then close), then a message or a table to refuse. Must not wait.
---@field validate? tidewire.Validate
---@field on_start? fun(conn: tidewire.Conn): any, any  after the handshake; messages wait for it
--- handle_message: is called for each message, in order.
---@field handle_message? fun(conn: tidewire.Conn, message: any, kind: "text"|"binary"): any, any
---@field send_ping? fun(conn: tidewire.Conn): any, any  each ping_period, in place of conn:ping()
--- on_timeout: the client was silent for pong_period. false keeps the connection, any other result
--- closes it with 4408.
---@field on_timeout? fun(conn: tidewire.Conn): boolean?
--- on_error: true closes the connection, false or nil keeps it.
---@field on_error? fun(conn: tidewire.Conn, err: tidewire.Error): boolean?
--- on_drain: is called when a queue that was above half of max_backlog is empty again.
---@field on_drain? fun(conn: tidewire.Conn): any, any
--- on_reload: is called when new code was activated, before the next hook.
---@field on_reload? fun(conn: tidewire.Conn): any, any
--- on_disconnect: a session has lost its socket, and waits.
---@field on_disconnect? fun(conn: tidewire.Conn, code: integer): any, any
--- on_resume: its client is back. `before` has the former values of the fields that `validate` has
--- returned. false: the client gets a new session.
---@field on_resume? fun(conn: tidewire.Conn, request: tidewire.Request, before: table): any, any
---@field on_close? fun(conn: tidewire.Conn, code: integer, reason: string)  once, last
---@field codec? "text"|"binary"|"json"|tidewire.Codec
---@field ping_period? number        seconds between pings; 0: none
---@field pong_period? number        seconds of silence allowed; 0: for ever
---@field heartbeat? "frame"|"json"
---@field name? string               conn.name; the endpoint's path by default
---@field max_connections? integer   the limit on this endpoint's connections
--- user: the name of a connection's user: a field that `validate` returns, or a function. It is a
--- string or an integer, nil for none.
---@field user? string|fun(conn: tidewire.Conn): string|integer|nil
---@field user_connections? integer  of one user, at this endpoint
---@field user_limit? "refuse"|"replace"  beyond it: the new connection closes, or the oldest one
---@field max_message_size? tidewire.Size
---@field max_fragments? integer     frames that one message may have
---@field message_timeout? number    seconds that a message may take; 0: for ever
---@field max_backlog? tidewire.Size  the limit on one client's queue
--- slow_client: the reaction at max_backlog. "conflate": newer messages replace queued ones with
--- the same key.
---@field slow_client? "close"|"drop"|"conflate"
---@field origins? tidewire.Origins
---@field require_origin? boolean
---@field subprotocols? string[]     by preference
---@field rate? tidewire.Rate|false  what one client may send; none by default
--- control_rate: the pings and pongs that one client may send; { frames = 100, per = 1, burst =
--- 1000 } by default, false: any number.
---@field control_rate? tidewire.ControlRate|false
---@field compression? boolean|tidewire.Compression  permessage-deflate, for clients that offer it
---@field resume? boolean|tidewire.Resume  connections outlive their sockets
---@field handler_timeout? number    seconds of CPU time of one run of a hook, between waits

--- Messages and bytes that one client may send: so many in `per` seconds, and a burst. Either or
--- both; what a script never sees counts as well.
---@class tidewire.Rate
---@field messages? integer          in `per` seconds
---@field per? number                seconds; 1 by default
---@field burst? integer             messages at once; as many as in `per` by default
---@field bytes? tidewire.Size       in `per` seconds
---@field burst_bytes? tidewire.Size  bytes at once; as many as in `per` by default
--- action: what happens above the rate. "close" (1008) by default; "drop" the message; "pause":
--- read no more until the rate allows it.
---@field action? "close"|"drop"|"pause"

--- Pings and pongs that one client may send: so many in `per` seconds, and a burst.
---@class tidewire.ControlRate
---@field frames integer             in `per` seconds
---@field per? number                seconds; 1 by default
---@field burst? integer             frames at once; as many as in `per` by default

--- How messages are compressed.
---@class tidewire.Compression
---@field threshold? tidewire.Size  shorter messages stay uncompressed; 1024 bytes by default
---@field level? integer            1 (fast) to 9 (small)
---@field context? boolean          keep the windows between messages: memory for each connection

--- Sessions: connections that outlive their sockets (docs/sessions.md).
---@class tidewire.Resume
---@field seconds? number           that a session waits for its client; 60 by default
---@field messages? integer         to the client that are kept; 1000 by default
---@field bytes? tidewire.Size      the same; 256 KiB by default
---@field sessions? integer         of the endpoint that may wait; 10000 by default

--- New connections of one address: so many in `per` seconds, and a burst.
---@class tidewire.ConnectionRate
---@field connections integer        in `per` seconds
---@field per? number                seconds; 1 by default
---@field burst? integer             connections at once; as many as in `per` by default

--- Plain HTTP requests of one address: so many in `per` seconds, and a burst.
---@class tidewire.RequestRate
---@field requests integer           in `per` seconds
---@field per? number                seconds; 1 by default
---@field burst? integer             requests at once; as many as in `per` by default

--- TLS handshakes of all clients: so many in `per` seconds, and a burst.
---@class tidewire.TlsHandshakeRate
---@field handshakes integer         in `per` seconds
---@field per? number                seconds; 1 by default
---@field burst? integer             handshakes at once; as many as in `per` by default

--- A custom codec.
---@class tidewire.Codec
--- decode: returns a value, or nil and the problem.
---@field decode fun(payload: string, kind: tidewire.MessageKind): any, string?
---@field encode fun(value: any): string, tidewire.MessageKind?  a payload and its kind ("text")

--- `validate` may return this table after nil, in place of a message.
---@class tidewire.Refusal
---@field status? integer
---@field headers? table<string, string|string[]>
---@field body? any        a text as it is; a table as JSON
---@field message? string  without a body: becomes {"error": message, "status": status}

-- ---- apps ----

--- Files of a certificate, and the names for which it is used.
---@class tidewire.TlsCertificate
---@field certificate? string         a PEM file, with its chain
---@field key? string                 a PEM file; without it the certificate's file has the key
---@field ocsp? string                a file in DER: the OCSP response that is stapled
---@field names? string|string[]      those in the certificate by default

---@class tidewire.TlsOptions: tidewire.TlsCertificate
---@field certificates? tidewire.TlsCertificate[]  more, for other server names
---@field unknown_names? "default"|"refuse"
---@field client_ca? string           a PEM file: the authorities of clients' certificates
---@field client_verify? "require"|"optional"
---@field min_version? "1.2"|"1.3"
---@field ciphers? string             of TLS 1.2, as OpenSSL names them
---@field cipher_suites? string       of TLS 1.3

--- A script may return an app in place of a handler: endpoints and settings.
---@class tidewire.App
---@field listen? string|string[]  "127.0.0.1:8080", "[::1]:8080", ":8080", "unix:/path"
---@field workers? integer|"auto"
---@field tls? tidewire.TlsOptions|false
---@field defaults? tidewire.Handler  hooks and options for endpoints that do not set them
---@field endpoints? table<string, tidewire.Handler|string>  by path; a text is the name of a module
--- http: routes by path, or by method and path; `client = true` adds /tidewire.js and
--- /tidewire.mjs, the JavaScript client.
---@field http? tidewire.HttpRoutes
--- rooms: what rooms remember, by patterns of their names, as in ["chat:*"]; or a list of entries
--- with the pattern first.
---@field rooms? table<string, tidewire.RoomOptions|false>|table[]
---@field limits? tidewire.Limits
---@field admin? string            an address for /healthz, /readyz, /metrics and /stats
--- admin_hosts: names by which requests may ask for it, beside localhost and IP addresses.
---@field admin_hosts? string|string[]
--- trusted_proxies: the proxies that may name the client: "127.0.0.1", "10.0.0.0/8", "unix".
---@field trusted_proxies? string|string[]
--- forwarded_header: the header of theirs that counts; by default X-Forwarded-For, else Forwarded.
---@field forwarded_header? "X-Forwarded-For"|"Forwarded"
---@field proxy_protocol? boolean  their connections begin with a header of the PROXY protocol
--- state: the file in which tw.shared, tw.keep and sessions outlive a restart, relative to the
--- app's folder.
---@field state? string|false
--- cluster: the Redis or Valkey servers that join several machines with the same app.
---@field cluster? string|string[]|tidewire.ClusterOptions|false
--- removed_endpoints: whether a reload keeps connections of an endpoint that the new app lacks.
---@field removed_endpoints? "keep"|"close"
--- on_load: is called while the code is loaded, before it is activated. An error ends the start or
--- fails the reload.
---@field on_load? fun()
--- on_reload: is called when this code was activated. `old` is the table of the old script.
---@field on_reload? fun(old: table)
---@field on_stop? fun()            called when the server stops, before it closes connections

---@class tidewire.HttpRoutes
---@field [string] (fun(request: tidewire.Request): any, any)|tidewire.StaticFolder
---@field client? boolean

--- The Redis or Valkey servers of a cluster, and how they are reached. Files are in PEM, relative
--- to the app's folder.
---@class tidewire.ClusterOptions
---@field url? string            "redis://host:6379", "rediss://…", "redis+unix:///path"
---@field urls? string[]         or several
---@field prefix? string         of all keys and channels
---@field lease? number          seconds: a machine that is silent for so long is dead
---@field ca? string             certificates that TLS trusts
---@field certificate? string    of this machine
---@field key? string
---@field key_password? string
---@field verify? boolean        false: any certificate is accepted

--- What a room remembers.
---@class tidewire.RoomOptions
---@field presence? boolean              false: only their own machine knows the members
---@field history? integer               the last so many messages
---@field history_seconds? number        0: until newer ones take their place
---@field history_bytes? tidewire.Size
---@field retain? boolean                the last message of each key
---@field retain_keys? integer
---@field retain_seconds? number
---@field retain_bytes? tidewire.Size

---@class tidewire.StaticFolder
---@field static string  a folder, relative to the app's

---@class tidewire.Limits
---@field connections? integer
---@field per_address? integer
---@field connection_rate? tidewire.ConnectionRate|false  new connections of one address
---@field request_rate? tidewire.RequestRate|false        plain requests of one address
---@field tls_handshake_rate? tidewire.TlsHandshakeRate|false  of all clients together
---@field handshake_seconds? number
---@field half_closed_seconds? number
---@field keep_alive_seconds? number    0: each connection of plain HTTP has one request
---@field keep_alive_requests? integer  plain requests on one connection
---@field upload_backlog? tidewire.Size
---@field upload_backlog_per_address? tidewire.Size
---@field response_backlog? tidewire.Size
---@field response_backlog_per_address? tidewire.Size
---@field send_timeout? number
---@field min_send_rate? tidewire.Size
---@field header_bytes? tidewire.Size
---@field backlog? tidewire.Size          memory of all queues to clients
---@field receive_backlog? tidewire.Size  bytes of all clients that no hook has handled
---@field room_memory? tidewire.Size       of all that rooms remember
---@field outgoing_sockets? integer       sockets of scripts to other servers, of all workers
---@field cluster_backlog? tidewire.Size  that waits to be published to other machines
---@field cluster_members? tidewire.Size  of what is known of members on other machines
---@field worker_backlog? tidewire.Size  bytes of other workers that may wait for one worker
---@field memory? tidewire.Size  of the Lua values of one worker
---@field processes? integer     programs that tw.run runs at once in one worker
---@field load_timeout? number   seconds of CPU time that a load may take between waits

--- A route of `http` may return this table, a status, a text (the body of a 200), or a status and a
--- body.
---@class tidewire.Reply
---@field status? integer  200 by default
---@field headers? table<string, string|string[]>
---@field body? any        a text as it is; a table as JSON

-- ---- arguments of hooks ----

--- A connection. Fields that are not listed here are the script's own.
---@class tidewire.Conn
---@field id string                      24 letters and digits; no other connection ever gets it
---@field name string
---@field path string                    of the request, decoded
---@field params table<string, string>   the parts that the endpoint's path matched
---@field query table<string, string>
---@field remote_address string          an IP address, or "unix"
---@field secure boolean                 true on TLS
---@field subprotocol string?            the chosen subprotocol
---@field request tidewire.Request
---@field started_at number              seconds since 1970
---@field connected boolean              false while a session waits for its client
---@field rtt number?                    round trip of the last answered ping, in seconds
---@field backlog integer                bytes in the client's queue
---@field user any                      with the option `user`: its name, nil for none
---@field [string] any
local Conn = {}

--- How one message is sent.
---@class tidewire.SendOptions
---@field kind? tidewire.MessageKind  in place of the codec's
---@field key? string        the subject of the value (slow_client = "conflate")
---@field compress? boolean  false: the message stays uncompressed

--- Sends a value through the codec. Never waits. Throws for a value that the codec cannot encode.
---@param value any
---@param kind? tidewire.MessageKind|tidewire.SendOptions
---@return true? ok
---@return "closed"|"backlog"|nil why_not
function Conn:send(value, kind) end

--- Sends the queued messages, then a Close frame. Does nothing on a connection that is closing.
---@param code? integer   1000; 1000 to 1014 but 1004 to 1006, or 3000 to 4999
---@param reason? string  UTF-8, at most 123 bytes
function Conn:close(code, reason) end

---@return boolean
function Conn:is_open() end

--- Sends a ping of the endpoint's kind; the pong gives `conn.rtt`.
---@return true? ok
---@return "closed"|nil why_not
function Conn:ping() end

---@class tidewire.AskOptions
---@field timeout? number  seconds to wait; 10 by default
---@field type? string     the name of what is asked

--- Sends a request to the client and waits for its answer, on an endpoint with the codec "json".
---@param value? any  the request's data, any value that JSON has
---@param options? tidewire.AskOptions
---@return any answer        nil: the answer has no data, or there is none
---@return string? why_not   "timeout"; "closed"; "disconnected": the client of a session is back,
---  and its on_resume waits for this hook; "backlog", as of conn:send; "busy": 100 requests are
---  open; or the message of an error that the client has answered
---@return string? kind      the kind of such an error
function Conn:ask(value, options) end

--- Calls f(conn) once, unless the connection ends before.
---@param seconds number
---@param f fun(conn: tidewire.Conn)
---@return tidewire.Timer
function Conn:after(seconds, f) end

--- Calls f(conn) every `seconds`, until the connection ends.
---@param seconds number  0.001 or more
---@param f fun(conn: tidewire.Conn)
---@return tidewire.Timer
function Conn:every(seconds, f) end

--- Joins a room. A second join only changes `info`. A closing connection leaves its rooms by
--- itself.
---@param room string
---@param info any  any value that JSON has; `room:members()` and `room:watch` show it
---@param replay? tidewire.Replay  what the client gets first of what the room remembers
---@return true? ok
---@return tidewire.RoomPosition|"closed"|nil position_or_why_not
function Conn:join(room, info, replay) end

---@param room string
---@return true? ok
---@return "closed"|nil why_not
function Conn:leave(room) end

--- The names of the connection's rooms, sorted.
---@return string[]
function Conn:rooms() end

--- A client's request.
---@class tidewire.Request
---@field method string
---@field path string                   decoded, without the query
---@field params table<string, string>
---@field query table<string, string>   the last value of a repeated name
---@field headers table<string, string>  found in any case; repeated ones are joined with ", "
---@field cookies table<string, string>  as sent; the first value of a repeated name
---@field host string|nil      that the client asks for, perhaps with a port
---@field remote_address string  the client's IP address, or "unix"
---@field secure boolean
---@field tls tidewire.Tls?             where this server encrypts the connection
---@field origin string?
---@field subprotocols string[]         the subprotocols that the client offers
---@field body string?                  of a plain HTTP request

--- What is known of an encrypted connection.
---@class tidewire.Tls
---@field version string        "TLSv1.3"
---@field cipher string
---@field server_name string?   that the client has asked for
---@field alpn "http/1.1"|nil
---@field resumed boolean       the session began with an earlier connection
---@field client tidewire.TlsClient?

--- The certificate of a client; one of the authorities of `tls.client_ca` has signed it.
---@class tidewire.TlsClient
---@field subject string      "CN=ada, O=Example"
---@field issuer string
---@field serial string       hexadecimal
---@field fingerprint string  SHA-256, hexadecimal
---@field names string[]      alternative names: of hosts, e-mail addresses, URIs, IP addresses
---@field not_after integer   its last second, since 1970
---@field verified true

--- The argument of on_error. tostring() gives a readable text.
---@class tidewire.Error
---@field kind "script"|"decode"|"returned"|"timeout"|"memory"
---@field message string    with file and line
---@field traceback string  "" where there is none
---@field hook string       "handle_message", "timer", …
---@field value any         the value that was thrown or returned

---@class tidewire.Timer
---@field skipped integer  ticks left out because the loop or the function was late
local Timer = {}

--- Stops the timer. A call that waits goes on to its end.
---@return boolean was_running
function Timer:cancel() end

---@return boolean
function Timer:is_running() end

--- A named set of connections.
---@class tidewire.Room
---@field name string
local Room = {}

--- Sends a value to all members of the room.
---@param value any
---@param options? tidewire.Conn|{ except: tidewire.Conn|string|nil, key: string? }  the connection
---  to leave out, or its conn.id; `key`: the subject of the value
---@return integer delivered  the number of connections for which it was queued
---@return integer? offset    in the room's memory; nil: it has none
function Room:broadcast(value, options) end

--- What the room remembers, oldest first.
---@param options? { after: integer?, limit: integer?, endpoint: string?, retained: boolean? }
---@return tidewire.Remembered[]
function Room:history(options) end

--- The room's epoch and the offset of its last message; nil where it has no memory.
---@return string? epoch
---@return integer? offset
function Room:offset() end

--- Forgets what the room remembers, or only the message that is retained for a key.
---@param options? { key: string }
function Room:clear_history(options) end

---@class tidewire.Remembered
---@field offset integer
---@field time number  seconds since 1970
---@field payload string  encoded, as clients get it
---@field kind tidewire.MessageKind
---@field key string?

---@return integer
function Room:size() end

--- The members, in no order.
---@return tidewire.Member[]
function Room:members() end

--- The names of the users with a connection in the room, sorted.
---@return string[]
function Room:users() end

---@class tidewire.Watcher
---@field on_join? fun(member: tidewire.Member)
---@field on_leave? fun(member: tidewire.Member)
---@field by? "user"  only for the first connection of a user in the room, and for the last one

--- Calls f("join" or "leave", member), or on_join(member) and on_leave(member), for each connection
--- that joins or leaves from now on. These functions may wait.
---@param f (fun(event: "join"|"leave", member: tidewire.Member))|tidewire.Watcher
---@return tidewire.Watch
function Room:watch(f) end

--- What conn:join sends of a room's memory.
---@class tidewire.Replay
---@field history? integer       the last so many messages; with `after`: at most so many
---@field after? number|string   the messages behind this offset
---@field epoch? string
---@field retained? boolean      the last message of each key

--- Where a client is in a room's memory.
---@class tidewire.RoomPosition
---@field offset integer
---@field epoch string?       nil: the room has no memory
---@field recovered boolean   it has got all messages behind `after`
---@field replayed integer    how many messages came from the memory

---@class tidewire.Member
---@field id string    conn.id
---@field name string  conn.name
---@field info any     the value that conn:join was given
---@field user string?  conn.user

--- The connections of a user.
---@class tidewire.User
---@field name string
local User = {}

---@class tidewire.UserSendOptions: tidewire.SendOptions
---@field except tidewire.Conn|string|nil  the connection to leave out, or its conn.id

--- Sends a value to all connections of the user.
---@param value any
---@param options? tidewire.MessageKind|tidewire.UserSendOptions|tidewire.Conn
---@return integer delivered  the number of connections for which it was queued
function User:send(value, options) end

--- Closes all connections of the user. Their queued messages are sent first.
---@param code? integer   1000 by default, as of conn:close
---@param reason? string  UTF-8, at most 123 bytes
---@return integer closed  their number
function User:close(code, reason) end

--- The conn.id of each connection of the user, in no order.
---@return string[]
function User:connections() end

--- Has the user a connection?
---@return boolean
function User:online() end

---@class tidewire.Watch
local Watch = {}

--- Ends the watch: its functions are no longer called.
---@return boolean was_watching
function Watch:cancel() end

-- ---- require "tidewire" ----

---@class tidewire
---@field version string
---@field worker integer      this worker's number, from 0
--- generation: 1 at the start, one more with each reload. Old code that goes on keeps its number.
---@field generation integer
---@field http tidewire.http
---@field socket tidewire.socket
---@field json tidewire.json
---@field null tidewire.json.Null
---@field jwt tidewire.jwt
---@field log tidewire.log
local tw = {}

--- Waits. Other connections go on; the next message of this connection waits too.
---@param seconds number
function tw.sleep(seconds) end

--- Calls f() once.
---@param seconds number
---@param f fun()
---@return tidewire.Timer
function tw.after(seconds, f) end

--- Calls f() every `seconds`, counted from now.
---@param seconds number  0.001 or more
---@param f fun()
---@return tidewire.Timer
function tw.every(seconds, f) end

--- Runs f(...) in a coroutine of its own. f may wait.
---@param f fun(...)
---@param ... any
function tw.spawn(f, ...) end

--- Turns a function with a callback into a call that waits: `begin(done)` starts the work; await
--- returns the arguments of `done`.
---@param begin fun(done: fun(...))
---@return any ...
function tw.await(begin) end

--- The room of a name. A room exists while it has members, and costs nothing without.
---@param name string
---@return tidewire.Room
function tw.room(name) end

--- A handle_message that answers requests of clients with the results of functions.
---@param functions table<string, fun(conn: tidewire.Conn, data: any): any, any, any>  by the
---  requests' `type`; they return a value, or nil, a message and a kind
---@param other? fun(conn: tidewire.Conn, message: any, kind: tidewire.MessageKind): any, any  for
---  messages that are no requests
---@return fun(conn: tidewire.Conn, message: any, kind: tidewire.MessageKind): any, any
function tw.rpc(functions, other) end

--- The user of a name, which is conn.user of the user's connections.
---@param name string|integer  7 is the same as "7"
---@return tidewire.User
function tw.user(name) end

---@class tidewire.UserWatcher
---@field on_online? fun(name: string)
---@field on_offline? fun(name: string)

--- Calls f("online" or "offline", name), or on_online(name) and on_offline(name), for each user
--- with a first connection from now on, or without the last one. These functions may wait.
---@param f (fun(event: "online"|"offline", name: string))|tidewire.UserWatcher
---@return tidewire.Watch
function tw.watch_users(f) end

---@class tidewire.BroadcastOptions
---@field endpoint string?  a path: only to connections of this endpoint
---@field except tidewire.Conn|string|nil  the connection to leave out, or its conn.id
---@field key string?  the subject of the value
---@field compress boolean?  false: the message stays uncompressed

--- Sends a value to all connections.
---@param value any
---@param options? tidewire.Conn|tidewire.BroadcastOptions
---@return integer delivered  the number of connections for which it was queued
function tw.broadcast(value, options) end

--- Sends a value to the connection with this conn.id, on any worker.
---@param conn_id string
---@param value any
---@param options? "text"|"binary"|tidewire.SendOptions  as of conn:send
---@return true? ok
---@return "closed"|"backlog"|"refused"|nil why_not  "backlog": the client's queue or its worker's
---  queue is full; "refused": only while new code is activated
function tw.send(conn_id, value, options) end

--- Closes the connection with this conn.id, on any worker. Its queued messages are sent first.
---@param conn_id string
---@param code? integer   1000 by default, as of conn:close
---@param reason? string  UTF-8, at most 123 bytes
---@return true? ok
---@return "closed"? why_not  it is closing or closed
function tw.close(conn_id, code, reason) end

--- The time of a monotonic clock, for durations: seconds since some point, with a fraction down to
--- nanoseconds. It never goes back.
---@return number seconds
function tw.now() end

--- The time of the wall clock: seconds since 1970-01-01 UTC, with a fraction. It may go back when
--- the system's clock is set.
---@return number seconds
function tw.time() end

--- Any value as text for people, tables with their fields, for a log line or a terminal. Cut off at
--- 16 KiB.
---@param value any
---@return string
function tw.inspect(value) end

--- A store of small values that all workers share.
---@class tidewire.Store
local Store = {}

---@param key string
---@return string|number|boolean|nil value
function Store:get(key) end

--- Sets the value and the time of a key; nil deletes the key.
---@param key string  at most 1024 bytes
---@param value string|number|boolean|nil
---@param ttl? number  seconds after which the key is deleted; nil: never
---@return true? ok
---@return "full"|nil why_not
function Store:set(key, value, ttl) end

--- Sets a key that does not exist. Of several workers that try at once, one succeeds.
---@param key string
---@param value string|number|boolean
---@param ttl? number
---@return boolean? added
---@return "full"|nil why_not
function Store:add(key, value, ttl) end

--- Adds to a number. Throws where the key holds no number, or an integer would exceed 64 bits.
---@param key string
---@param by? number       1
---@param initial? number  of a key that does not exist: 0
---@param ttl? number      of a new key; a key that exists keeps its own
---@return number? value   the new value
---@return "full"|nil why_not
function Store:incr(key, by, initial, ttl) end

--- Deletes a key.
---@param key string
---@return boolean was_there
function Store:delete(key) end

--- Sets the time after which a key ends.
---@param key string
---@param ttl? number  seconds from now; nil: never
---@return boolean is_there
function Store:expire(key, ttl) end

---@param max? integer  at most this many
---@return string[] keys  in no order
function Store:keys(max) end

---@param max? integer  at most this many
---@return table<string, string|number|boolean> entries  values by their keys
function Store:entries(max) end

--- Replaces a key's value by f(value), in one step for all workers: where another worker has
--- changed it, f is called again.
---@param key string
---@param f fun(value: string|number|boolean|nil): string|number|boolean|nil  nil deletes the key
---@param ttl? number  of a new key
---@return string|number|boolean|nil value
---@return "full"|"busy"|nil message
function Store:update(key, f, ttl) end

--- The store of this name, the same for all workers. With `cluster` it is the same for all
--- machines: its methods wait for Redis, and return nil and a sentence where it cannot be asked.
---@param name string
---@param options? { max_bytes?: tidewire.Size, cluster?: boolean }  64 MiB by default; the first
---  opening sets it
---@return tidewire.Store
function tw.shared(name, options) end

--- The table of this name, which belongs to this worker and outlives reloads, and restarts with the
--- app's option `state`. The first call sets it to `initial`.
---@generic T: table
---@param name string
---@param initial? T|(fun(): T)  an empty table by default
---@return T
function tw.keep(name, initial) end

--- Marks a table as a JSON array, so that it is written as [] when it is empty. Without a table it
--- returns a new one.
---@generic T: table
---@param t? T
---@return T
function tw.array(t) end

---@return tidewire.Stats
function tw.stats() end

--- Counters since the start, and current values.
---@class tidewire.Stats
---@field connections integer           open now
---@field total_connections integer     the same as connections
---@field max_connections integer       limits.connections
---@field sockets integer               open now, plain HTTP and handshakes among them
---@field uptime number                 seconds
---@field messages integer              the same as messages_received
---@field bytes integer                 the same as bytes_received
---@field errors integer                script_errors plus decode_errors
---@field repeating_timers integer     running timers of tw.every and conn:every
---@field connections_opened integer
---@field connections_closed integer
---@field sessions_passed integer      handshakes passed to the worker that has their session
---@field connections_refused integer
---@field messages_received integer
---@field messages_sent integer
---@field messages_dropped integer
---@field messages_replaced integer  of the same key, while they waited (slow_client = "conflate")
---@field rate_drops integer          messages from clients that `rate` dropped
---@field rate_pauses integer         times that `rate` stopped the reading of a client
---@field compressed_messages_received integer
---@field compressed_bytes_received integer    their payloads, as they came
---@field decompressed_bytes_received integer  their payloads, decompressed
---@field compressed_messages_sent integer
---@field compressions integer                 a broadcast counts once for each set of parameters
---@field compression_bytes_in integer
---@field compression_bytes_out integer
---@field bytes_received integer
---@field bytes_sent integer
---@field pings_sent integer
---@field pongs_received integer
---@field timeouts integer
---@field script_errors integer
---@field memory_errors integer       hooks, timers and routes that wanted too much memory
---@field lua_memory_bytes integer        memory of the scripts, over all workers
---@field lua_memory_limit_bytes integer  what limits.memory allows them
---@field handler_timeouts integer     runs that the server ended because they took too long
---@field decode_errors integer
---@field protocol_errors integer
---@field slow_clients integer
---@field backlog_bytes integer        memory of all queues now
---@field backlog_closed integer       connections closed because limits.backlog was reached
---@field sessions_waiting integer    sessions that wait for their clients now
---@field sessions_begun integer
---@field sessions_not_resumed integer  whose client came back and got a new one
---@field sessions_evicted integer    that ended because too many waited
---@field sessions_resumed integer    times that a client has come back
---@field sessions_expired integer    sessions whose client has not come back in time
---@field http_requests integer
---@field requests_refused integer     plain requests refused by a limit on bytes
---@field idle_evicted integer         idle connections of plain HTTP closed for new sockets
---@field slow_readers integer         answers cut off because their client read too slowly
---@field tls_handshakes integer
---@field tls_failures integer
---@field pool_threads integer         threads of tw.pool, and those that run a call
---@field pool_busy integer
---@field pool_queue integer           calls that wait for a thread, with bytes of their arguments
---@field pool_queue_bytes integer
---@field pool_calls integer
---@field pool_errors integer          calls that have thrown
---@field pool_timeouts integer
---@field pool_refused integer         calls that found the queue full
---@field pool_wait_seconds number     the sum of the times in queues, and in threads
---@field pool_run_seconds number
---@field cluster_published? integer   messages to other machines; cluster_…: only in a cluster
---@field cluster_received? integer
---@field cluster_resent? integer      published again: the connection was lost before the answer
---@field cluster_duplicates? integer  that had come before
---@field cluster_lost? integer        that did not come
---@field cluster_dropped? integer     that this machine could not publish
---@field cluster_healed? integer      that did not come and were read from a room's memory
---@field cluster_damaged? integer     that this version cannot read
---@field cluster_outages? integer     times that a Redis server was away
---@field cluster_queue_bytes? integer
---@field cluster_queue_messages? integer
---@field cluster_rooms? integer       that concern this machine
---@field cluster_rooms_live? integer  of these, subscribed and read
---@field cluster_machines? integer    others that live
---@field cluster_members? integer     of rooms, on other machines
---@field cluster_servers_up? integer  Redis servers that can be reached
---@field upstreams integer            clients of tw.connect open now
---@field upstreams_opened integer
---@field upstream_messages_received integer
---@field upstream_messages_sent integer
---@field cosockets integer            sockets of scripts open now, with those that are kept
---@field cosockets_kept integer       those that setkeepalive keeps
---@field cosockets_connected integer  connections that they have made
---@field cosockets_failed integer     connections that they could not make
---@field rooms_with_memory integer     rooms that remember messages now
---@field room_memory_messages integer  these messages
---@field room_memory_bytes integer     their memory
---@field room_memory_evictions integer  messages that went because of limits.room_memory

---@class tidewire.json.Null  JSON's null: the one value of its kind, true in an `if`

---@class tidewire.json
---@field null tidewire.json.Null
local json = {}

--- Returns the value, or nil and the problem with its byte. `false` is a value.
---@param text string
---@return any value
---@return string? message
function json.decode(text) end

--- Throws for values that JSON does not have.
---@param value any
---@return string
function json.encode(value) end

---@generic T: table
---@param t? T
---@return T
function json.array(t) end

---@class tidewire.jwt
local jwt = {}

---@class tidewire.jwt.VerifyOptions
---@field key string                      a secret (HS…), or a public key as PEM text (RS…, ES…)
---@field algorithms? string|string[]     accepted; by default the key's: HS256, RS256, ES256
---@field issuer? string|string[]         `iss` must be one of these
---@field audience? string|string[]       `aud` must be or hold one of these
---@field leeway? number                  seconds by which clocks may differ; 0
---@field require? string|string[]        claims that the token must have

--- Returns the claims, or nil and the problem. Throws for wrong keys and options.
---@param token string?
---@param options tidewire.jwt.VerifyOptions
---@return table<string, any>? claims
---@return string? message
function jwt.verify(token, options) end

---@class tidewire.jwt.SignOptions
---@field key string           a secret (HS…), or a private key as PEM text (RS…, ES…)
---@field algorithm? string    by default the usual one for the key
---@field headers? table       more members of the header
---@field expires_in? number   seconds from now; sets `exp`

--- Returns a signed token. Throws for wrong claims, keys and options.
---@param claims table<string, any>
---@param options tidewire.jwt.SignOptions
---@return string token
function jwt.sign(claims, options) end

---@class tidewire.ConnectOptions
---@field headers? table<string, string|number|(string|number)[]>
---@field subprotocols? string[]      those that the client offers, the preferred one first
---@field codec? "text"|"binary"|"json"|tidewire.Codec
---@field timeout? number             seconds until it is open; 10
---@field tls? tidewire.ConnectTls    for wss only
---@field max_message_size? integer|string  bytes; 1 MiB; over it the client closes with 1009
---@field max_backlog? integer|string       bytes that may wait to be sent; 1 MiB
---@field max_inbox? integer|string   bytes that may wait for receive, then reading stops; 1 MiB
---@field ping_period? number         seconds; 30; 0: no pings
---@field pong_period? number         seconds of silence, then it closes with 1006; 300; 0: any

---@class tidewire.ConnectTls
---@field ca? string           a PEM file of authorities to trust instead of the system's
---@field certificate? string  a PEM file: the client's own certificate
---@field key? string          a PEM file: the key of `certificate`
---@field verify? boolean      false: any certificate is accepted, also that of an attacker between
---@field server_name? string  for SNI and the certificate's check, instead of the URL's host

--- A WebSocket to another server. `local client <close>` closes it at the end of its block.
---@class tidewire.Client
---@field url string
---@field subprotocol? string  the one that the server has chosen; a server may choose none
---@field backlog integer      bytes that wait to be sent
local Client = {}

--- Sends a value through the codec. Never waits. A message that is larger than max_backlog throws.
---@param value any
---@param kind? "text"|"binary"  instead of the codec's
---@return true? ok
---@return "closed"|"backlog"|nil problem  "backlog": the message is dropped, the client stays open
function Client:send(value, kind) end

--- Waits until nothing waits to be sent.
---@param timeout? number  seconds; nil: for ever
---@return true? ok
---@return "timeout"|"closed"|nil problem
function Client:flush(timeout) end

--- Waits for the next message; messages that came before the close come first.
---@param timeout? number  seconds; nil: for ever
---@return any value       nil: none came
---@return "text"|"binary"|"timeout"|"closed" kind
---@return integer? code   of the close; 1006: the connection was lost
---@return string? reason  of the close; with 1007 the problem of the codec
function Client:receive(timeout) end

--- The messages until the close: `for message, kind in client:messages() do`.
---@return fun(): any, "text"|"binary"|nil
function Client:messages() end

--- Sends what is queued and a Close frame, and waits for the server's, at most three seconds.
---@param code? integer   1000 by default
---@param reason? string  UTF-8, at most 123 bytes
function Client:close(code, reason) end

---@return boolean
function Client:is_open() end

--- Opens a WebSocket to another server, and waits until it is open; nil and a message where that
--- fails.
---@param url string  ws://… or wss://…
---@param options? tidewire.ConnectOptions
---@return tidewire.Client? client
---@return string? problem
---@return integer? status  the HTTP status, where the server has refused the handshake
function tw.connect(url, options) end

---@class tidewire.PoolOptions
---@field threads? integer               4
---@field queue? integer                 calls that may wait; 1000
---@field queue_bytes? integer|string    and the bytes of their arguments; 16 MiB
---@field timeout? number                seconds that a call may take, with its wait; 10
---@field budget? number                 seconds of CPU time for a call; 1
---@field memory? integer|string         bytes of the Lua state of a thread; 256 MiB at most

--- An error in a function of a pool, as pcall returns it.
---@class tidewire.RemoteError
---@field kind "script"|"timeout"|"memory"
---@field message string
---@field traceback string  of the thread
---@field value any         what was thrown, if it is plain data
---@field pool string       the module
---@field call string       the function

---@class tidewire.PoolStats
---@field threads integer      that live, those that end with old code included
---@field busy integer         of them, those that run a call
---@field queue integer        calls that wait for a thread
---@field queue_bytes integer  the bytes of their arguments
---@field calls integer        since the start, as the following
---@field errors integer       calls that have thrown
---@field timeouts integer     calls whose timeout was over
---@field refused integer      calls that found the queue full
---@field wait_seconds number  the sum of the times in the queue
---@field run_seconds number   the sum of the times in a thread

---@class tidewire.Pool
---@field name string     of the module
---@field timeout number  seconds
local Pool = {}

--- Calls a function of the module in a thread, and waits for its results; throws its error.
---@param name string
---@param ... any  nil, booleans, numbers, strings, tables of these
---@return any ...  the results; or nil, "timeout" | "queue full" | "closed", a sentence
function Pool:call(name, ...) end

--- The same pool with another timeout.
---@param options { timeout: number? }
---@return tidewire.Pool
function Pool:with(options) end

--- The figures of the pools of this module, over all workers.
---@return tidewire.PoolStats
function Pool:stats() end

--- Closes the pool in this worker; calls under way end.
function Pool:close() end

--- Makes a pool of threads that have loaded a module. All workers share it.
---@param module string  as for require
---@param options? tidewire.PoolOptions
---@return tidewire.Pool
function tw.pool(module, options) end

---@class tidewire.ReadFileOptions
---@field max_size? integer|string  the most bytes that the file may have; 16 MiB

---@class tidewire.WriteFileOptions
---@field append? boolean  at the end of the file, in place
---@field atomic? boolean  by a new file that gets the name; true by default
---@field fsync? boolean   return when the disk has it
---@field mode? string     the file's permissions as an octal text: "0600"

--- Reads a whole regular file and waits for it.
---@param path string  relative to the server's working directory
---@param options? tidewire.ReadFileOptions
---@return string? data
---@return string? problem  "data.txt: No such file or directory"
---@return integer? code    errno
function tw.read_file(path, options) end

--- Writes a whole file and waits for it: a reader finds the old content or the new one.
---@param path string  relative to the server's working directory
---@param data string
---@param options? tidewire.WriteFileOptions
---@return true? ok
---@return string? problem  "data.txt: Permission denied"
---@return integer? code    errno
function tw.write_file(path, data, options) end

--- A program, its arguments from 1 on, and options.
---@class tidewire.RunOrder
---@field [integer] string|number
---@field stdin? string     the input; without one the program reads /dev/null
---@field cwd? string       the folder in which it runs; the server's by default
---@field env? table<string, string|number|false>  changes to the server's environment
---@field clear_env? boolean  it gets `env` alone
---@field timeout? number   seconds, then its process group is ended; 30
---@field max_output? integer|string  bytes of stdout, and of stderr; beyond it is ended; 1 MiB
---@field on_stdout? fun(chunk: string)  gets the output while the program runs; may wait
---@field on_stderr? fun(chunk: string)

---@class tidewire.RunResult
---@field code? integer    of its exit; nil: a signal has ended it
---@field signal? string   "SIGSEGV"
---@field stdout? string   nil where there is on_stdout
---@field stderr? string   the same

--- Runs a program, without a shell, and waits until it has ended; nil and a message where it cannot
--- be started, does not end in time, or writes too much.
---@param order tidewire.RunOrder
---@return tidewire.RunResult? result
---@return string? problem
function tw.run(order) end

--- Requests to other servers.
--- Sockets to other servers, which wait. docs/sockets.md describes them.
---@class tidewire.socket
---@field dns table
local socket = {}

---@class tidewire.socket.Tls
---@field ca? string            a file of trusted authorities, instead of the system's
---@field certificate? string   of ours, for servers that ask for one; a file in PEM
---@field key? string           its key
---@field verify? boolean       false accepts every certificate
---@field alpn? string|string[] the protocols that are offered
---@field server_name? string   for the server's certificate, instead of the host

---@class tidewire.socket.Options
---@field tls? true|tidewire.socket.Tls
---@field timeout? number  seconds: for the connection with its TLS, and for each later call
---@field pool? string     takes a connection that setkeepalive has kept under this name

--- Opens a connection to a server, and waits until it is open.
---@param host string                a name, an address, or "unix:/path"
---@param port? integer|string       none for a path
---@param options? tidewire.socket.Options
---@return tidewire.socket.Stream? socket
---@return string? problem           "connection refused", "timeout", "certificate: …", …
function socket.connect(host, port, options) end

--- A TCP socket that is not connected. Its connect takes a kept connection, if there is one.
---@return tidewire.socket.Stream
function socket.tcp() end

--- Waits until one of the sockets can be received from, or sent to.
---@param receivers? tidewire.socket.Stream[]
---@param senders? tidewire.socket.Stream[]
---@param seconds? number  nil: any time
---@return table readable  a list, which has the index of each socket too
---@return table writable
---@return "timeout"? problem
function socket.select(receivers, senders, seconds) end

---@param seconds number
function socket.sleep(seconds) end

---@return number seconds  since 1970
function socket.gettime() end

---@param kind string?  "keep-open", the default, or "close-when-done"
---@param stream tidewire.socket.Stream
---@return function
function socket.sink(kind, stream) end

---@param kind string?  "until-closed", the default, or "by-length"
---@param stream tidewire.socket.Stream
---@param length? integer
---@return function
function socket.source(kind, stream, length) end

---@param f function
---@return function  returns nil and what `try` has thrown in f
function socket.protect(f) end

---@param finalizer? fun()
---@return fun(...: any): any ...
function socket.newtry(finalizer) end

---@return any ...
function socket.try(...) end

--- A socket, with LuaSocket's methods. Failures are nil and a word: "timeout", "closed", ….
---@class tidewire.socket.Stream
local stream = {}

---@param data string|number
---@param first? integer
---@param last? integer
---@return integer? last     the index of the last byte sent
---@return string? problem
---@return integer? partial  with a problem: the index of the last byte sent
function stream:send(data, first, last) end

---@param pattern? "*l"|"*a"|"l"|"a"|integer
---@param prefix? string
---@return string? data
---@return string? problem
---@return string? partial  with a problem: what was received before
function stream:receive(pattern, prefix) end

--- Limits the time of each call. nil and negative numbers: no limit. 0: no call waits.
---@param seconds? number
---@param mode? "b"|"t"
---@return 1
function stream:settimeout(seconds, mode) end

---@param host string
---@param port? integer|string
---@param options? { pool: string? }
---@return 1? ok
---@return string? problem
function stream:connect(host, port, options) end

--- Begins TLS. The certificate is checked unless `verify` is false.
---@param session? any     ignored
---@param name? string     the server's; the host by default
---@param verify? boolean
---@return true? ok
---@return string? problem
function stream:sslhandshake(session, name, verify) end

--- Keeps the connection for the next connect with the same pool.
---@param seconds? number  60; 0: any time
---@param size? integer    how many the pool has in this worker; 30
---@return 1? ok
---@return string? problem
function stream:setkeepalive(seconds, size) end

---@return integer
function stream:getreusedtimes() end

---@return 1
function stream:close() end

---@class tidewire.http
local http = {}

---@class tidewire.http.Request
---@field url string       http://… or https://…, percent-encoded
---@field method? string   "GET", or "POST" where there is a body
---@field headers? table<string, string|number|(string|number)[]>
---@field body? string|table  a table is sent as JSON
---@field timeout? number     seconds for all of it; 10
---@field max_bytes? integer  of the response's body; 8 MiB
---@field redirects? integer  how many are followed; 0

---@class tidewire.http.Response
---@field status integer
---@field headers table<string, string>  found in any case; repeated ones are joined with ", "
---@field body string                    "" where there is none

--- Sends a request to another server and waits for the response, of any status; nil and a message
--- where none came.
---@param request tidewire.http.Request
---@return tidewire.http.Response? response
---@return string? message
function http.request(request) end

---@class tidewire.log
local log = {}

---@param message any
---@param fields? table<string, any>
function log.debug(message, fields) end

---@param message any
---@param fields? table<string, any>
function log.info(message, fields) end

---@param message any
---@param fields? table<string, any>
function log.warn(message, fields) end

---@param message any
---@param fields? table<string, any>
function log.error(message, fields) end

return tw
