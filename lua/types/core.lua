---@meta tidewire.core
-- core.lua -- types of what C gives the Lua library: tidewire.core, tidewire.json_c,
-- tidewire.jwt_c.
--
-- For engineers of lua/tidewire; scripts use `require "tidewire"` instead. This file only declares.
-- A connection, an endpoint, a codec, a store, a timer, a task and a request are integers here. For
-- one that has ended, functions return "closed", false or nothing. Misuse throws. A function knows
-- its own worker only, unless "all workers" is said. scripts/check_api.lua compares this file with
-- the tables of functions in src/script.

-- ---- tidewire.core: bind.c ----

--- Functions that replace Lua's own; guarded.lua installs them.
---@class tidewire.core.guarded
---@field resume function
---@field close function
---@field pcall function
---@field make_xpcall function
---@field setmetatable function
---@field debug_setmetatable function
---@field traceback function
---@field collectgarbage function
---@field popen function
---@field execute function
---@field exit function

--- Codes of Close frames. first_private to last are the app's own.
---@class tidewire.core.close_codes
---@field normal integer
---@field bad_payload integer
---@field script_error integer
---@field restart integer
---@field first_private integer
---@field timed_out integer
---@field last integer

--- The largest numbers that C accepts, and the smallest ones where there are such.
---@class tidewire.core.limits
---@field close_reason_bytes integer
---@field message_key_bytes integer
---@field session_secret_min integer  bytes of the secret of a session
---@field session_secret_max integer
---@field store_key_bytes integer
---@field stores integer
---@field upstream_headers integer
---@field upstream_subprotocols integer
---@field user_name_bytes integer

---@class tidewire.core
---@field senders { text: function, binary: function, json: function }  conn.send of plain codecs
---@field conn_key lightuserdata  the key of a conn's integer in its object
---@field guarded tidewire.core.guarded
---@field wait_marker lightuserdata  a coroutine yields it to C in order to sleep
---@field user_room string  what the names of users' rooms begin with
---@field exit_marker lightuserdata  a coroutine yields it to C in order to end after os.exit
---@field close_codes tidewire.core.close_codes
---@field limits tidewire.core.limits
---@field version string
---@field worker integer
---@field pool string|nil  in a thread of a pool: its name
local core = {}

-- ---- bind_conn.c ----

--- Queues a message.
---@param conn integer
---@param payload string
---@param kind? "text"|"binary"  "text" by default
---@param key? string            the message may replace a waiting one with this key
---@param stays_plain? boolean   it is not compressed
---@return true? ok
---@return "closed"|"backlog"|"utf8"|nil why_not
function core.send(conn, payload, kind, key, stays_plain) end

--- Sends what is queued, and a Close frame. Does nothing for a connection that is closing.
---@param conn integer
---@param code integer
---@param reason string  UTF-8, at most limits.close_reason_bytes
function core.close(conn, code, reason) end

--- May a Close frame carry this code (RFC 6455 section 7.4)?
---@param code integer
---@return boolean
function core.close_code_is_valid(code) end

--- Sends a ping of the endpoint's heartbeat.
---@param conn integer
---@return boolean was_open
function core.ping(conn) end

--- Notes a client's JSON pong.
---@param conn integer
---@param ping_id any
function core.json_pong(conn, ping_id) end

--- The message that is handled was one of the JSON heartbeat: a session does not count it.
---@param conn integer
---@param received any  how many messages the client says to have got
---@return integer? handled  messages of the client so far; nil: it has no session
function core.json_heartbeat(conn, received) end

--- Sends a message of the JSON heartbeat.
---@param conn integer
---@param text string
function core.send_heartbeat(conn, text) end

--- Closes the connection of a silent client, or the socket of its session, with 4408.
---@param conn integer
function core.time_out(conn) end

--- Has it a socket? False for a session that waits, and for a closed connection.
---@param conn integer
---@return boolean
function core.is_connected(conn) end

--- on_resume, which runs, has returned false: the client gets a new session.
---@param conn integer
function core.refuse_resume(conn) end

--- Is it open: neither closing nor gone?
---@param conn integer
---@return boolean
function core.is_open(conn) end

--- The round trip of the last ping.
---@param conn integer
---@return number? seconds  of the last round trip; nil: no pong came yet
function core.rtt(conn) end

--- The size of what is queued for a client.
---@param conn integer
---@return integer bytes  that wait to be sent to the client
function core.backlog(conn) end

--- conn.id of a connection.
---@param conn integer
---@return string id
function core.id_text(conn) end

--- The integer of a conn.id.
---@param text string
---@return integer? conn  nil: no id, or one of another process
function core.id_number(text) end

-- ---- bind_endpoint.c ----

--- Adds an endpoint, or changes the one with this number. The fields are those of struct endpoint;
--- periods are in seconds, codec, heartbeat and slow_client are names.
---@param options table
---@param number integer?
---@return integer number
---@return integer codec  the codec that `options` names
function core.endpoint(options, number) end

--- C calls this function for each message of the endpoint, in place of dispatch.lua's `message`:
--- (conn, payload, kind). It returns what handle_message returns. nil: C calls `message` again.
---@param number integer
---@param f function?
function core.fast_path(number, f) end

--- Closes all connections of an endpoint.
---@param number integer
---@param code integer
---@param reason string
function core.close_endpoint(number, code, reason) end

--- Has the endpoint max_connections connections, or is there none with this number?
---@param number integer
---@return boolean
function core.endpoint_full(number) end

--- Has the endpoint a session with this secret on this worker?
---@param number integer
---@param secret string
---@return boolean
function core.session_exists(number, secret) end

--- Is this worker the first to ask about this subject of an endpoint, or of none? A warning is then
--- logged once.
---@param subject "subprotocols"|"origins"
---@param number integer|nil
---@return boolean
function core.is_first(subject, number) end

--- Lists the connections of an endpoint on this worker.
---@param number integer
---@return tidewire.Conn[] conns  in no order
function core.endpoint_conns(number) end

--- Counts the connections of an endpoint.
---@param number integer
---@return integer connections  over all workers, those in their handshake included
function core.endpoint_taken(number) end

-- ---- bind_room.c ----

--- Adds a connection to a room, or replaces its info there.
---@param conn integer
---@param room string
---@param info string?  JSON
---@return boolean was_open
function core.join(conn, room, info) end

--- The script waits for answers of this client, or not any more: C gives the event `answered` texts
--- that may be answers.
---@param conn integer
---@param asked boolean
function core.set_asked(conn, asked) end

--- Gives a connection another user; the limit of a user's connections does not count.
---@param conn integer
---@param user string?  nil: none
function core.set_user(conn, user) end

--- Turns the event `presence_changed` on or off for the changes of this room; by core.user_room for
--- the first and the last connection of each user.
---@param room string
---@param on boolean
function core.watch(room, on) end

--- Removes a connection from a room. Does nothing if it is no member.
---@param conn integer
---@param room string
---@return boolean was_open
function core.leave(conn, room) end

--- The names of the rooms of a connection.
---@param conn integer
---@return string[] rooms  in no order
function core.rooms_of(conn) end

--- Counts the members of a room over all workers.
---@param room string
---@return integer
function core.room_size(room) end

--- The members of a room over all workers, in no order. The list has four values for each: its
--- integer, the name of its endpoint as JSON, its info as JSON or false, and its user or false.
---@param room string
---@return (integer|string|false)[] members
function core.room_members(room) end

--- The codec of a connection of any worker.
---@param conn integer
---@return integer? codec  nil: it is closed
function core.codec_of(conn) end

--- Sends to a connection of any worker.
---@param conn integer
---@param codec integer   its codec, by which the payload was encoded
---@param payload string
---@param kind "text"|"binary"|nil
---@param key string?  as for publish
---@param stays_plain boolean?
---@return true? ok
---@return "closed"|"backlog"|"utf8"|nil problem
function core.send_anywhere(conn, codec, payload, kind, key, stays_plain) end

--- Sends what is queued for a connection of any worker, and a Close frame.
---@param conn integer
---@param code integer
---@param reason string  UTF-8, at most limits.close_reason_bytes
---@return boolean was_open  false: it is closing or gone
function core.close_anywhere(conn, code, reason) end

--- The codecs that the room's members have now. `publish` returns those that have come meanwhile.
---@param room string
---@return integer[] codecs
---@return integer[]? remembered  the codecs in which the room remembers values; nil: it has none
function core.room_codecs(room) end

--- Sends a value to connections of all workers, to each in the encoding of its codec. Sends nothing
--- if a receiver has a codec that is not among the encodings.
---@param room string?       nil: to all connections
---@param endpoint integer?  only to connections of this endpoint
---@param except integer|string?  not to this connection; a text: of another machine
---@param key string?        the message may replace a waiting one with this key
---@param stays_plain boolean?  it is not compressed
---@param ... integer|string|false  three for each encoding: a codec, a payload, a kind; with false
---  in place of the payload its connections get nothing
---@return integer|false|nil delivered  to so many connections; nil: a text is not UTF-8; false:
---  codecs are missing
---@return integer[]|integer|nil missing_or_offset  beside false: the missing codecs; else the
---  offset in the room's memory, or nil
function core.publish(room, endpoint, except, key, stays_plain, ...) end

--- Sends a message to a connection of another machine.
---@param id string  its text
---@param key string?
---@param stays_plain boolean?
---@param ... integer|string|false  the encodings, as of core.publish
---@return true? ok
---@return "closed"|"unreachable"|"utf8"|nil problem  "closed": its machine does not live
function core.send_away(id, key, stays_plain, ...) end

--- Closes a connection of another machine.
---@param id string  its text
---@param code integer
---@param reason string  UTF-8, at most limits.close_reason_bytes
---@return true? ok
---@return "closed"|"unreachable"|nil problem
function core.close_away(id, code, reason) end

-- ---- bind_cluster.c ----

--- Is the machine one of a cluster?
---@return boolean
function core.has_cluster() end

--- Asks the link to other machines for something. Wakes the task when the answer has come. The
--- caller must call core.cluster_forget.
---@param kind "room_sync"|"shared"|"session"
---@param body string
---@param task integer
---@return integer? request  nil: there is no cluster, or too many requests wait
function core.cluster_request(kind, body, task) end

--- The answer to it; nothing: it has not come.
---@param request integer
---@return "ok"|"unreachable"|"timeout"|"refused"|nil status
---@return string? body
function core.cluster_answer(request) end

--- The answer is not needed any more.
---@param request integer
function core.cluster_forget(request) end

--- The figures of the link to other machines, by their names; empty: there is none.
---@return table<string, integer>
function core.cluster_figures() end

--- Does a join have to wait until the room is live on this machine ("room_sync")?
---@param room string
---@return boolean
function core.room_must_sync(room) end

-- ---- bind_memory.c ----

--- Which rooms have a memory, and the most bytes of all.
---@param rules tidewire.RoomRule[]
---@param max_bytes integer
function core.set_room_rules(rules, max_bytes) end

--- Adds a connection to a room after a replay of what the room remembers.
---@param conn integer
---@param room string
---@param info string?      JSON
---@param history integer?  the last so many messages, or at most so many behind `after`
---@param after integer?    the messages behind this offset; negative: one that cannot be
---@param epoch string?
---@param retained boolean  the last message of each key, too
---@return integer|false offset  false: it is closed
---@return string? epoch         nil: the room has no memory
---@return boolean? recovered
---@return integer? replayed
function core.join_replay(conn, room, info, history, after, epoch, retained) end

--- What a room remembers, oldest first.
---@param room string
---@param retained boolean
---@param codec integer?  in this encoding
---@param after integer?  the first messages behind this offset; nil: the last ones
---@param limit integer
---@return tidewire.Remembered[]
function core.room_history(room, retained, codec, after, limit) end

---@param room string
---@return string? epoch  nil: it has no memory
---@return integer? offset
function core.room_position(room) end

--- Forgets what a room remembers, or only what it retains for a key.
---@param room string
---@param key string?
function core.room_forget(room, key) end

-- ---- bind_shared.c: a store is an integer, a time to live is in seconds ----

--- Opens a store, or makes it.
---@param name string
---@param max_bytes integer
---@return integer? store      nil: there are too many
---@return integer? max_bytes  its limit, which the first worker that opened it has set
function core.shared_open(name, max_bytes) end

--- The value of a key.
---@param store integer
---@param key string
---@return string|number|boolean|nil value
function core.shared_get(store, key) end

--- Sets the value of a key.
---@param store integer
---@param key string
---@param value string|number|boolean
---@param ttl? number
---@return true? ok
---@return "full"|nil why_not
function core.shared_set(store, key, value, ttl) end

--- Sets the value of a key that has none.
---@param store integer
---@param key string
---@param value string|number|boolean
---@param ttl? number
---@return boolean? added  false: the key has a value
---@return "full"|nil why_not
function core.shared_add(store, key, value, ttl) end

--- Adds `by` to the number of a key, or to `initial` if the key has no value.
---@param store integer
---@param key string
---@param by number
---@param initial number
---@param ttl? number  of a new key
---@return number? value
---@return "full"|"not a number"|"overflow"|nil why_not
function core.shared_incr(store, key, by, initial, ttl) end

--- Removes a key.
---@param store integer
---@param key string
---@return boolean was_there
function core.shared_delete(store, key) end

--- Sets the time to live of a key; nil: it stays.
---@param store integer
---@param key string
---@param ttl? number
---@return boolean is_there
function core.shared_expire(store, key, ttl) end

--- The keys of a store, in no order.
---@param store integer
---@param max? integer
---@return string[] keys
function core.shared_keys(store, max) end

--- The values of a store by key.
---@param store integer
---@param max? integer
---@return table<string, string|number|boolean> entries
function core.shared_entries(store, max) end

--- Sets the value of a key, if its value is the expected one.
---@param store integer
---@param key string
---@param expected string|number|boolean|nil  nil: no such key
---@param value string|number|boolean|nil     nil: the key is deleted
---@param ttl? number
---@return boolean|nil done  false: the key has another value now
---@return "full"|nil message
function core.shared_exchange(store, key, expected, value, ttl) end

-- ---- bind_state.c ----

--- Takes the state of the file, if no worker has taken it.
---@param file string
---@return true|nil ok
---@return string|nil why  the server cannot start with this file
function core.state_take(file) end

--- The table of tw.keep with this index, from 0, that this worker has kept; nothing: there are no
--- more.
---@param index integer
---@return string|nil name
---@return table|nil values
function core.state_keep(index) end

--- Writes a table of tw.keep into the state: in the event save_state.
---@param name string
---@param values table
function core.state_save_keep(name, values) end

--- The objects of this worker's sessions that wait, in no order.
---@return tidewire.Conn[]
function core.sessions() end

--- Writes a session into the state: in the event save_state.
---@param id integer
---@param fields table  of scripts
---@param rest table    what else its object has
function core.state_save_session(id, fields, rest) end

--- All values that C has passed: in the event restore_session.
---@param values lightuserdata
---@return any ...
function core.state_values(values) end

-- ---- bind_sessions.c: sessions that go to other machines, or come from them ----

--- Packs what the object of a session has, for another machine: in the event give_session.
---@param sink lightuserdata
---@param fields table  of scripts
---@param rest table    what else its object has
function core.session_pack(sink, fields, rest) end

--- A session of what another machine has packed; core.session_object() follows.
---@param bytes string
---@return integer|nil id
---@return integer|string endpoint_or_why_not  its number
---@return integer|nil last  the number of the last message that was sent
---@return table|nil fields
---@return table|nil rest
function core.session_receive(bytes) end

--- The object of such a session.
---@param id integer
---@param object tidewire.Conn|nil  nil: it cannot be made, and the session is dropped
function core.session_object(id, object) end

--- Puts what came while the session was on its way behind its message with the number `after`.
---@param id integer
---@param after integer
---@param bytes string  of the link
function core.session_insert(id, after, bytes) end

--- The handshake of the event fetch_session goes on.
---@param handshake integer
function core.handshake_go_on(handshake) end

-- ---- bind_task.c ----

--- The running task; or nil and the reason why it cannot wait.
---@return integer? task
---@return string? why_not
function core.task() end

--- Is the connection of the running hook open? nil: the running task is no hook of a connection, or
--- is its on_close.
---@return boolean|nil
function core.has_client() end

--- Lets a sleeping task go on at the end of the loop's turn.
---@param task integer
---@return boolean known  false: it has ended
function core.wake(task) end

--- Runs f(...) as a task of its own at the end of the loop's turn.
---@param f function
---@param ... any
function core.spawn(f, ...) end

--- Must the current run end, because it is over its budget?
---@return boolean
function core.is_over() end

--- Sets the budgets of tasks that belong to no endpoint, and of loading.
---@param handler_seconds number
---@param load_seconds number
function core.set_budgets(handler_seconds, load_seconds) end

--- The default of limits.memory where so many workers run.
---@param workers integer  0: one for each processor
---@return integer bytes
function core.default_memory(workers) end

--- Limits the memory of this Lua state.
---@param bytes integer
function core.limit_memory(bytes) end

--- Throws an error of memory, unless the running script may start what stays when the hook ends.
--- core.timer and core.spawn check it themselves.
function core.check_lasting() end

--- The bytes that this Lua state has, garbage included.
---@return integer
function core.memory() end

--- Counts an error of memory. Returns a sentence about the last allocation that has failed.
---@return string
function core.memory_error() end

--- The running task belongs to this connection: to its budget and its on_error.
---@param conn integer
function core.runs_for(conn) end

--- The running task has the budget of this endpoint.
---@param endpoint integer  its number
function core.runs_at(endpoint) end

--- Gives C the result of the event `reload`: an app, or nil and the problems.
---@param app tidewire.App?
---@param problems string?  lines
---@param sources string?   beside problems: the script files read or looked for, one a line
function core.loaded(app, problems, sources) end

--- The scope of the running function: the generation that it loads, or whose loading started it.
---@return integer? generation
function core.scope() end

--- Sets the scope of the running function, and of functions that it spawns; nil: none.
---@param generation integer?
function core.set_scope(generation) end

--- Ends the functions of that generation's scope that sleep or have not begun.
---@param generation integer
function core.end_scope(generation) end

-- ---- bind_process.c ----

--- A copy of a file descriptor, which is closed in child processes.
---@param descriptor integer
---@return integer|nil copy
---@return string|nil message
function core.duplicate(descriptor) end

--- Closes a file descriptor.
---@param descriptor integer
function core.close_descriptor(descriptor) end

-- ---- bind_timers.c ----

--- Starts a timer, for dispatch.lua's `timer`.
---@param seconds number  0 to 1e9; 0.001 or more if it repeats
---@param repeats boolean
---@param is_sleep boolean|nil  it wakes a waiting task, and is not counted
---@return integer timer
function core.timer(seconds, repeats, is_sleep) end

--- Cancels a timer.
---@param timer integer
---@return boolean was_running
function core.timer_cancel(timer) end

--- Is the slice of luv's timers over in this turn? The first call of a turn begins the slice.
---@return boolean
function core.luv_slice_over() end

-- ---- bind_http_client.c ----

--- Can libcurl parse this URL?
---@param url string
---@return true? ok
---@return string? message
function core.http_check_url(url) end

--- Sends a request to another server. C wakes the task when the request has ended; the caller must
--- call http_end.
---@param task integer
---@param url string      checked
---@param method string   in capitals
---@param headers string  whole lines, checked
---@param body string?
---@param seconds number      for all of it
---@param max_bytes integer   of the response's body
---@param redirects integer   to follow
---@return integer? request
---@return string? message
function core.http_begin(task, url, method, headers, body, seconds, max_bytes, redirects) end

--- Returns nothing before the request has ended; then the response, or nil and the reason why there
--- is none.
---@param request integer
---@return integer? status
---@return string? head_or_message
---@return string? body
function core.http_result(request) end

--- Forgets a request, and cancels it if it has not ended.
---@param request integer
function core.http_end(request) end

-- ---- bind_children.c ----

--- Begins to start a program; child_result tells if that is not possible. The caller must call
--- child_end.
---@param task integer
---@param arguments string[]    the program first
---@param environment string[]  "NAME=value"
---@param cwd string|nil
---@param input string|nil      nil: none
---@param max_output integer
---@param seconds number        until it is ended
---@param takes_stdout boolean  child_take takes its output
---@param takes_stderr boolean
---@return integer child
function core.child_start(task, arguments, environment, cwd, input, max_output, seconds,
  takes_stdout, takes_stderr) end

--- The output that has come since the last call; "": none has.
---@param child integer
---@param which "stdout"|"stderr"
---@return string
function core.child_take(child, which) end

--- C wakes the child's task once, when the child ends or has output to take.
---@param child integer
function core.child_wait(child) end

--- Returns nothing before the child has ended; then its exit code (-1: a signal has ended it), its
--- signal (0: none) and its outputs; or nil and a message.
---@param child integer
---@return integer? code
---@return integer|string|nil signal_or_message
---@return string? stdout
---@return string? stderr
function core.child_result(child) end

--- Forgets a child, and ends its processes if they run.
---@param child integer
function core.child_end(child) end

-- ---- bind_files.c ----

--- Begins to read a file. C wakes the task when file_result is to be called; the caller must call
--- file_end.
---@param task integer
---@param path string
---@param max_bytes integer
---@return userdata job
function core.file_read(task, path, max_bytes) end

--- Begins to write a file. The same.
---@param task integer
---@param path string
---@param data string
---@param mode integer|nil     permissions; nil: the old file's, or those of a new file
---@param append boolean
---@param in_place boolean
---@param fsync boolean
---@return userdata job
function core.file_write(task, path, data, mode, append, in_place, fsync) end

--- Returns nothing while a thread works on it: C wakes the task again. Else the content of a file
--- that was read, or true; or nil, a message and errno.
---@param job userdata
---@return string|true|nil data
---@return string? message
---@return integer? code
function core.file_result(job) end

--- The result of a job is not needed any more. What has begun to be written is written.
---@param job userdata
function core.file_end(job) end

-- ---- bind_server.c ----

--- Writes a line of the log. Keys are strings; values strings, numbers or booleans.
---@param level "debug"|"info"|"warn"|"error"
---@param event string
---@param conn integer?  nil: that of the running task
---@param ... any        key, value, …
function core.log(level, event, conn, ...) end

--- Does the log write lines of this level?
---@param level "debug"|"info"|"warn"|"error"
---@return boolean
function core.log_enabled(level) end

--- Does the log write lines for refused requests?
---@return boolean
function core.logs_refusals() end

--- Counters and gauges by name, over all workers.
---@return table<string, number>
function core.stats() end

--- Counts an error that Lua has caught, by its kind.
---@param kind "decode"|"script"|"returned"
function core.count_error(kind) end

--- The time of the wall clock.
---@return number seconds  since 1970
function core.time() end

--- The time of a clock that nothing sets.
---@return number seconds  since some point
function core.monotonic() end

--- The environment variables by name.
---@return table<string, string>
function core.environment() end

--- Responds to a plain HTTP request.
---@param number integer
---@param status integer
---@param headers string?  whole lines
---@param body string?
---@param why string?      for the log, where the server refuses the request itself
function core.respond(number, status, headers, body, why) end

--- Responds to a plain HTTP request with a file.
---@param number integer
---@param root string  a folder
---@param path string  below it, percent-encoded
function core.respond_file(number, root, path) end

--- The bytes of a file of the JavaScript client: "tidewire.js", "tidewire.min.mjs".
---@param name string
---@return string|nil bytes  nil: there is no such file
function core.client_file(name) end

--- Is it an address to listen at?
---@param text string
---@return true? ok
---@return string? message
function core.check_address(text) end

--- Is it an element of `trusted_proxies`: an address, a network, or "unix"?
---@param text string
---@return true|nil ok
---@return string|nil message
function core.check_trusted_proxy(text) end

--- Is it the URL of a Redis server? No password is in the message.
---@param text string
---@return true|nil ok
---@return string|nil message
function core.check_cluster_url(text) end

--- Can the options of TLS be used, with their files?
---@param options tidewire.AppTls
---@return true? ok
---@return string? message  names the file
---@return string? option   whose problem it is
---@return integer? number  of the certificate, for its options
function core.check_tls(options) end

-- ---- tidewire.json_c ----

---@class tidewire.json_c
---@field null userdata
local json_c = {}

---@param text string
---@return any value
---@return string? message
function json_c.decode(text) end

---@param value any
---@return string
function json_c.encode(value) end

---@param t? table
---@return table
function json_c.array(t) end

-- ---- tidewire.jwt_c ----

---@class tidewire.jwt_c
local jwt_c = {}

--- The token's parts must be base64url.
---@param token string
---@param algorithm string
---@param key string
---@return boolean
function jwt_c.verify(token, algorithm, key) end

---@param algorithm string
---@param key string
---@param headers string  JSON
---@param claims string   JSON
---@return string? token
---@return "headers"|"claims"|"key"|"memory"|nil refused
function jwt_c.sign(algorithm, key, headers, claims) end

--- Base64url without padding.
---@param text string
---@return string? bytes
function jwt_c.decode64(text) end


--- Is it the URL of a WebSocket?
---@param url string
---@return true? ok
---@return string? message
function core.upstream_check_url(url) end

--- Begins to open a WebSocket to another server. The caller must call core.upstream_release.
---@param url string              checked, as all that follow
---@param headers string[]        "Name: value" each
---@param subprotocols string[]   the preferred one first
---@param timeout number          seconds
---@param ping_period number      seconds
---@param pong_period number      seconds
---@param max_message_size integer
---@param max_backlog integer
---@param max_inbox integer
---@param verify boolean          check the server's certificate
---@param ca string?              files
---@param certificate string?
---@param key string?
---@param server_name string?     instead of the URL's host, for TLS
---@return integer? upstream
---@return string? message
function core.upstream_open(url, headers, subprotocols, timeout, ping_period, pong_period,
                            max_message_size, max_backlog, max_inbox, verify, ca, certificate, key,
                            server_name) end

--- The state, with values of it: of "closed" the code, the reason, the sentence why it was never
--- open, and the status of a refusal; of the others the subprotocol and the bytes that wait.
--- Nothing: it is released.
---@param upstream integer
---@return "connecting"|"open"|"closing"|"closed"|nil state
---@return string|integer|nil subprotocol_or_code
---@return integer|string|nil backlog_or_reason
---@return string? problem
---@return integer? http_status
function core.upstream_status(upstream) end

---@param upstream integer
---@param payload string
---@param binary boolean
---@return true? ok
---@return "closed"|"backlog"|"too large"|"utf8"|nil problem
function core.upstream_send(upstream, payload, binary) end

--- Takes the oldest message. Nothing: none waits.
---@param upstream integer
---@return string? payload
---@return boolean? binary
function core.upstream_receive(upstream) end

--- Wakes the task once, when the state changes, or a message arrives, or nothing waits to be sent.
---@param upstream integer
---@param event "message"|"flushed"
---@param task integer?  nil: no task waits any more
function core.upstream_wait(upstream, event, task) end

--- Begins to close; code and reason are checked.
---@param upstream integer
---@param code integer
---@param reason string
function core.upstream_close(upstream, code, reason) end

--- Closes it with 1001 if it is open, and forgets the number.
---@param upstream integer
function core.upstream_release(upstream) end


--- A socket to another server, without a descriptor. The caller must call core.cosocket_release.
---@return integer cosocket
function core.cosocket_make() end

--- Gives it a new descriptor, in place of the one that it has.
---@param cosocket integer
---@param family "inet"|"inet6"|"unix"
---@return true? ok
---@return string? problem
function core.cosocket_open(cosocket, family) end

--- Its descriptor; -1: it has none.
---@param cosocket integer
---@return integer
function core.cosocket_descriptor(cosocket) end

--- Closes the descriptor. Tasks that wait are woken.
---@param cosocket integer
function core.cosocket_close(cosocket) end

--- Closes it, and forgets the number.
---@param cosocket integer
function core.cosocket_release(cosocket) end

---@param cosocket integer
---@param family "inet"|"inet6"|"unix"
---@param host string    numeric, or a path
---@param port integer?
---@return true? ok
---@return string? problem
function core.cosocket_bind(cosocket, family, host, port) end

--- Begins to connect. The problem false: wait until it takes bytes, and ask
--- core.cosocket_connected.
---@param cosocket integer
---@param family "inet"|"inet6"|"unix"
---@param host string    numeric, or a path
---@param port integer?
---@return true? ok
---@return string|false|nil problem
function core.cosocket_connect(cosocket, family, host, port) end

--- Is it connected? The problem false: not yet.
---@param cosocket integer
---@return true? ok
---@return string|false|nil problem
function core.cosocket_connected(cosocket) end

--- The address of one side. Nothing for Unix sockets.
---@param cosocket integer
---@param is_peer boolean
---@return string? host
---@return string? port_or_problem
---@return "inet"|"inet6"|nil family
function core.cosocket_name(cosocket, is_peer) end

--- Sends bytes of a string, as many as the socket takes at once.
---@param cosocket integer
---@param bytes string
---@param first integer
---@param last integer
---@return integer last                  the index of the last byte that the socket took
---@return string|false|nil problem      false: wait until it takes bytes
function core.cosocket_send(cosocket, bytes, first, last) end

--- Receives a line, all, or so many bytes. The problem nil: these are all. False: more must follow.
---@param cosocket integer
---@param pattern "l"|"a"|integer
---@return string bytes                  all, or a part
---@return string|false|nil problem
function core.cosocket_receive(cosocket, pattern) end

--- Takes what was received and is not enough.
---@param cosocket integer
---@param pattern "l"|"a"|integer
---@return string bytes
function core.cosocket_rest(cosocket, pattern) end

--- Has it received bytes that were not taken?
---@param cosocket integer
---@return boolean
function core.cosocket_has_bytes(cosocket) end

--- Wakes the task once, when the side may be ready, is closed, or after so many seconds.
---@param cosocket integer
---@param side "in"|"out"
---@param task integer
---@param seconds number?  nil: any number
---@return boolean is_alone  false: another task waits for this side
function core.cosocket_wait(cosocket, side, task, seconds) end

--- The task does not wait for the side any more.
---@param cosocket integer
---@param side "in"|"out"
---@param task integer
function core.cosocket_end_wait(cosocket, side, task) end

--- Is the side ready, or closed?
---@param cosocket integer
---@param side "in"|"out"
---@return boolean
function core.cosocket_is_ready(cosocket, side) end

--- Begins TLS. The problem false: wait for bytes, and call core.cosocket_shake_hands.
---@param cosocket integer
---@param host string?           for SNI and the certificate; nil: neither
---@param verify boolean         check the server's certificate
---@param ca string?             files
---@param certificate string?
---@param key string?
---@param password string?       of the key
---@param ciphers string?        of TLS 1.2, in OpenSSL's words
---@param cipher_suites string?  of TLS 1.3
---@param min integer?           2 or 3, for TLS 1.2 and 1.3
---@param max integer?
---@param alpn string?           each protocol behind its length
---@return true? ok
---@return string|false|nil problem
function core.cosocket_begin_tls(cosocket, host, verify, ca, certificate, key, password, ciphers,
                                 cipher_suites, min, max, alpn) end

---@param cosocket integer
---@return true? ok
---@return string|false|nil problem
function core.cosocket_shake_hands(cosocket) end

--- The protocol that both sides have agreed on.
---@param cosocket integer
---@return string?
function core.cosocket_alpn(cosocket) end

--- What is known of its TLS and of the server's certificate.
---@param cosocket integer
---@return string? version
---@return string? cipher
---@return string? subject
---@return string? issuer
---@return string? serial
---@return string? fingerprint
---@return integer? not_after
function core.cosocket_tls_facts(cosocket) end

--- Gives it to C, which keeps it under the key. Nothing has its number then.
---@param cosocket integer
---@param key string
---@param seconds number   0: any time
---@param most integer     how many the key may have
---@return true? ok
---@return string? problem
function core.cosocket_keep(cosocket, key, seconds, most) end

--- One that was kept under the key, and how often it was taken, this time included.
---@param key string
---@return integer? cosocket
---@return integer? times
function core.cosocket_take(key) end

---@param cosocket integer
---@param sides "both"|"receive"|"send"
---@return true? ok
---@return string? problem
function core.cosocket_shutdown(cosocket, sides) end

--- How many were not used for so long, wait for nothing and were not counted by an earlier call.
---@param seconds number
---@return integer idle
---@return integer open  all that are open, without those that are kept
function core.cosocket_idle(seconds) end

---@param cosocket integer
---@return integer received  bytes
---@return integer sent
---@return number age        seconds
function core.cosocket_counts(cosocket) end

---@param cosocket integer
---@param received integer
---@param sent integer
---@param age number
function core.cosocket_set_counts(cosocket, received, sent, age) end

--- Sets an option of its descriptor, by LuaSocket's name. Throws for other names and types.
---@param cosocket integer
---@param name string
---@param value any
---@return true? ok
---@return string? problem
function core.cosocket_set_option(cosocket, name, value) end

---@param cosocket integer
---@param name string
---@return any value
---@return string? problem
function core.cosocket_get_option(cosocket, name) end

--- Makes a pool, or finds it. The caller must call core.pool_release.
---@param module string
---@param generation integer   of the code that calls
---@param threads integer
---@param queue integer        calls that may wait
---@param queue_bytes integer  and the bytes of their arguments
---@param memory integer|nil   bytes of a thread's state; nil: the default
---@param budget number        seconds of CPU time for a call
---@param path string          package.path of the app, library_path the part that is not the app's
---@param library_path string
---@param cpath string
---@return integer|nil pool
---@return string|nil message
function core.pool_open(module, generation, threads, queue, queue_bytes, memory, budget, path,
                        library_path, cpath) end

--- This worker makes no more calls in it. Calls under way go on.
---@param pool integer
function core.pool_release(pool) end

--- Wakes the task when the module is loaded, or cannot be. nil: that is known already.
---@param pool integer
---@param task integer
---@return integer|nil call
function core.pool_load(pool, task) end

---@param pool integer
---@return string|nil files    that the module has read or looked for, one a line
---@return string|nil message  why it cannot be loaded
function core.pool_loaded(pool) end

--- Throws for an argument that is no plain data. The caller must call core.pool_forget.
---@param pool integer
---@param task integer       woken when the call is done, or its time is over
---@param timeout number     seconds
---@param max_bytes integer  of the arguments
---@param name string        of the function
---@param ... any
---@return integer|nil call
---@return "closed"|"queue full"|nil problem
function core.pool_call(pool, task, timeout, max_bytes, name, ...) end

--- The results of a call; nil: it is not done.
---@param call integer
---@return "returned"|"thrown"|"unknown"|"timeout"|"closed"|nil status
---@return any ...  the results; message, traceback, kind, value; a hint
function core.pool_result(call) end

--- The figures of the pools of a module, in all generations and workers; nil: of all pools.
---@param module string|nil
---@return tidewire.PoolStats
function core.pool_figures(module) end

--- Drops the results of a call, now or when they come.
---@param call integer
function core.pool_forget(call) end

return core
