---@meta tidewire.core
-- core.lua -- types of what C gives the Lua library: tidewire.core, tidewire.json_c,
-- tidewire.jwt_c.
--
-- For engineers of lua/tidewire; scripts use `require "tidewire"` instead. Declares, runs nothing.
-- A connection, a timer, a sleeping hook and a plain HTTP request are integers here; for a stale
-- one functions return "closed", false or nothing. scripts/check_api.lua compares this file with
-- the tables of functions in src/script.

-- ---- tidewire.core: bind.c ----

--- Functions in place of Lua's own.
---@class tidewire.core.guarded
---@field resume function
---@field close function
---@field pcall function
---@field make_xpcall function
---@field setmetatable function
---@field debug_setmetatable function
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

--- The largest numbers that C accepts.
---@class tidewire.core.limits
---@field close_reason_bytes integer
---@field message_key_bytes integer
---@field store_key_bytes integer
---@field stores integer

---@class tidewire.core
---@field senders { text: function, binary: function, json: function }  conn.send of plain codecs
---@field conn_key lightuserdata  under which a conn keeps its integer
---@field guarded tidewire.core.guarded
---@field wait_marker lightuserdata  a coroutine yields it to C in order to wait
---@field exit_marker lightuserdata  a coroutine yields it to C to end after os.exit
---@field close_codes tidewire.core.close_codes
---@field limits tidewire.core.limits
---@field version string
---@field worker integer
local core = {}

-- ---- bind_conn.c ----

---@param conn integer
---@param payload string
---@param kind? "text"|"binary"
---@param key? string
---@return true? ok
---@return "closed"|"backlog"|"utf8"|nil why_not
function core.send(conn, payload, kind, key) end

---@param conn integer
---@param code integer
---@param reason string  UTF-8, at most limits.close_reason_bytes
function core.close(conn, code, reason) end

--- May a Close frame carry this code (RFC 6455 section 7.4)?
---@param code integer
---@return boolean
function core.close_code_is_valid(code) end

---@param conn integer
---@return boolean was_open
function core.ping(conn) end

--- Notes a client's JSON pong.
---@param conn integer
---@param ping_id any
function core.json_pong(conn, ping_id) end

---@param conn integer
---@return boolean
function core.is_open(conn) end

---@param conn integer
---@return number? seconds
function core.rtt(conn) end

---@param conn integer
---@return integer bytes
function core.backlog(conn) end

---@param conn integer
---@return string id  conn.id
function core.id_text(conn) end

--- The integer of a conn.id.
---@param text string
---@return integer? conn  nil: no id, or one of another process
function core.id_number(text) end

-- ---- bind_endpoint.c and fast_path.c ----

--- Makes an endpoint, or changes the one with this number. The fields are those of struct endpoint;
--- periods are in seconds.
---@param options table
---@param number integer?
---@return integer number
---@return integer codec  the number of the one that `options` names
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

---@param number integer
---@return boolean
function core.endpoint_full(number) end

--- Is this worker the first to ask this about the endpoint? A warning is then logged once.
---@param number integer
---@return boolean
function core.endpoint_is_first(number) end

---@param number integer
---@return integer connections  over all workers, those in their handshake included
function core.endpoint_taken(number) end

-- ---- bind_room.c ----

---@param conn integer
---@param room string
---@param info string?  JSON
---@return boolean was_open
function core.join(conn, room, info) end

--- Turns the event `presence_changed` on or off for the joins and leaves of this room.
---@param room string
---@param on boolean
function core.watch(room, on) end

---@param conn integer
---@param room string
---@return boolean was_open
function core.leave(conn, room) end

---@param conn integer
---@return string[] rooms  in no order
function core.rooms_of(conn) end

--- Over all workers.
---@param room string
---@return integer
function core.room_size(room) end

--- The members over all workers, in no order. Three values for each: its integer, the name of its
--- endpoint as JSON, and its info as JSON or false.
---@param room string
---@return (integer|string|false)[] members
function core.room_members(room) end

--- The number of the codec that a connection of any worker has.
---@param conn integer
---@return integer? codec  nil: it is closed
function core.codec_of(conn) end

--- Sends to a connection of any worker.
---@param conn integer
---@param codec integer   that the payload was made by
---@param payload string
---@param kind "text"|"binary"|nil
---@param key string?  as for publish
---@return true? ok
---@return "closed"|"backlog"|"utf8"|nil problem
function core.send_anywhere(conn, codec, payload, kind, key) end

---Sends what is queued for a connection of any worker, and a Close frame.
---@param conn integer
---@param code integer
---@param reason string  at most 123 bytes
---@return boolean was_open  false: it is closing or gone
function core.close_anywhere(conn, code, reason) end

--- The numbers of the codecs that the room's members have now. `publish` returns those that have
--- come meanwhile.
---@param room string
---@return integer[]
function core.room_codecs(room) end

--- Sends to all receivers, to each the encoding of its codec; or to none, if a receiver has a codec
--- that is not among the encodings.
---@param room string?       nil: to all connections
---@param endpoint integer?  only to connections of this endpoint
---@param except integer?    not to this connection
---@param key string?        the message may replace a waiting one with this key
---@param ... integer|string|false  three for each encoding: a codec, a payload, a kind; with false
---  in place of the payload its connections get nothing
---@return integer|false|nil delivered  nil: not sent, the text is not UTF-8; false: not sent,
---  codecs are missing
---@return integer[]? missing  beside false: the codecs that are needed as well
function core.publish(room, endpoint, except, key, ...) end

-- ---- reload.c ----

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

-- ---- bind_shared.c: a store is an integer, a time to live is in seconds ----

---@param name string
---@param max_bytes integer
---@return integer? store      nil: there are too many
---@return integer? max_bytes  its limit, which the first worker that opened it has set
function core.shared_open(name, max_bytes) end

---@param store integer
---@param key string
---@return string|number|boolean|nil value
function core.shared_get(store, key) end

---@param store integer
---@param key string
---@param value string|number|boolean
---@param ttl? number
---@return true? ok
---@return "full"|nil why_not
function core.shared_set(store, key, value, ttl) end

---@param store integer
---@param key string
---@param value string|number|boolean
---@param ttl? number
---@return boolean? added
---@return "full"|nil why_not
function core.shared_add(store, key, value, ttl) end

---@param store integer
---@param key string
---@param by number
---@param initial number
---@param ttl? number  of a new key
---@return number? value
---@return "full"|"not a number"|"overflow"|nil why_not
function core.shared_incr(store, key, by, initial, ttl) end

---@param store integer
---@param key string
---@return boolean was_there
function core.shared_delete(store, key) end

---@param store integer
---@param key string
---@param ttl? number
---@return boolean is_there
function core.shared_expire(store, key, ttl) end

---@param store integer
---@param max? integer
---@return string[] keys
function core.shared_keys(store, max) end

---@param store integer
---@param max? integer
---@return table<string, string|number|boolean> entries
function core.shared_entries(store, max) end

---@param store integer
---@param key string
---@param expected string|number|boolean|nil  nil: no such key
---@param value string|number|boolean|nil     nil: the key is deleted
---@param ttl? number
---@return boolean|nil done  false: the key has another value now
---@return "full"|nil message
function core.shared_exchange(store, key, expected, value, ttl) end

-- ---- bind_task.c ----

--- The running hook's integer; or nil and the reason why it cannot wait.
---@return integer? task
---@return string? why_not
function core.task() end

---@param task integer
---@return boolean known  false: it has ended
function core.wake(task) end

---@param f function
---@param ... any
function core.spawn(f, ...) end

--- Must the current run end, because it is over its budget?
---@return boolean
function core.is_over() end

--- Sets the budgets of runs that belong to no endpoint, and of loading.
---@param handler_seconds number
---@param load_seconds number
function core.set_budgets(handler_seconds, load_seconds) end

--- The current run belongs to this connection: to its budget and its on_error.
---@param conn integer
function core.runs_for(conn) end

--- The current run has the budget of this endpoint.
---@param endpoint integer  its number
function core.runs_at(endpoint) end

-- ---- bind_process.c ----

---@param descriptor integer
---@return integer|nil copy
---@return string|nil message
function core.duplicate(descriptor) end

---@param descriptor integer
function core.close_descriptor(descriptor) end

-- ---- bind_timers.c ----

---@param seconds number
---@param repeats boolean
---@param is_sleep boolean|nil  it belongs to a waiting hook, and is not counted
---@return integer timer
function core.timer(seconds, repeats, is_sleep) end

---@param timer integer
---@return boolean was_running
function core.timer_cancel(timer) end

--- Is the slice of luv's timers over in this turn? The first call of a turn begins the slice.
---@return boolean
function core.luv_slice_over() end

-- ---- bind_http_client.c ----

---@param url string
---@return true? ok
---@return string? what_is_wrong
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
---@return string? why_not
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

-- ---- bind_server.c ----

--- One log line. Keys are strings; values strings, numbers or booleans.
---@param level "debug"|"info"|"warn"|"error"
---@param event string
---@param conn integer?  nil: that of the running hook
---@param ... any        key, value, …
function core.log(level, event, conn, ...) end

---@param level "debug"|"info"|"warn"|"error"
---@return boolean
function core.log_enabled(level) end

--- Does the log have lines for refused requests?
---@return boolean
function core.logs_refusals() end

---@return table<string, number>
function core.stats() end

---@param kind "decode"|"script"|"returned"
function core.count_error(kind) end

---@return number seconds  since 1970
function core.now() end

---@return table<string, string>
function core.environment() end

--- Responds to a plain HTTP request.
---@param number integer
---@param status integer
---@param headers string?  whole lines
---@param body string?
---@param why string?      for the log, where the server refuses the request itself
function core.respond(number, status, headers, body, why) end

--- Responds with a file.
---@param number integer
---@param root string  a folder
---@param path string  below it, percent-encoded
function core.respond_file(number, root, path) end

---@param text string
---@return true? ok
---@return string? what_is_wrong
function core.check_address(text) end

---@param certificate string  a file
---@param key string          a file
---@return true? ok
---@return string? what_is_wrong
function core.check_certificate(certificate, key) end

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

return core
