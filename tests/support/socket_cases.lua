-- socket_cases.lua -- what sockets do, case by case: for LuaSocket in a process of its own, and for
-- `require "socket"` in a script. socket_equal_spec.lua compares the results.
--
-- A case is Lua source with `socket`, `host`, `port` (of a support.peer), `closed` (a port where
-- nothing listens), `s`, a connected socket, and `tell(command, …)`, which sends commands to the
-- peer and waits until the peer has answered them. It returns values; `rendered` makes a text of
-- them.

local cases = {}

local list = {
  -- sending
  { "send all", [[return s:send("count 3\n"), s:send("abc"), s:receive()]] },
  { "send ranges", [[
    s:send("count 30\n")
    local list = {}
    for _, range in ipairs { { 2 }, { 2, 2 }, { 3, 2 }, { -2 }, { 5 }, { 1, 10
    }, { 0 }, { -10, -2 },
      { 1, 0 }, { 1, -1 }, { -1, -1 } } do
      list[#list + 1] = s:send("abc", range[1], range[2])
    end
    return list]] },
  { "send ranges of texts and fractions", [[s:send("count 4\n")
    return s:send("abc", "2", "-1"), s:send("abc", 1.0, 2.5), s:receive()]] },
  { "send with a bad range", [[return (pcall(s.send, s, "abc", {})), (pcall(s.send, s, "abc", 1,
    "x"))]] },
  { "send a number", [[s:send("count 2\n") return s:send(12), s:receive()]] },
  { "send nothing", [[return s:send(""), s:send("", 1)]] },
  { "send without data", [[return pcall(s.send, s)]] },
  { "send a table", [[return pcall(s.send, s, {})]] },
  { "send after close", [[s:close() return s:send("abc")]] },
  { "send a part after close", [[s:close() return s:send("abc", 2)]] },
  { "send after shutdown", [[return s:shutdown("send"), s:send("abc")]] },
  -- lines
  { "lines", [[tell([=[say one\r\ntwo\n\nfo\rur\r\r\n]=]) return s:receive(), s:receive("*l"),
    s:receive("*line"), s:receive()]] },
  { "a line that is not complete", [[s:send("say one\n") s:settimeout(0.1) return s:receive()]] },
  { "a line that is not complete, with CRs", [[s:send("say o\\rn\\re\n") s:settimeout(0.1)
    return s:receive()]] },
  { "the rest of a line after a timeout", [[
    s:send("say one\n") s:settimeout(0.1)
    local _, problem, partial = s:receive()
    s:settimeout(5)
    s:send("say two\\n\n")
    return problem, partial, s:receive("*l", partial)]] },
  { "a line before the end", [[s:send("say one\nend\n") return s:receive()]] },
  { "a line at the end", [[s:send("end\n") return s:receive()]] },
  { "a line with a prefix", [[s:send("say one\\n\n") return s:receive("*l", "zero")]] },
  { "a line with a zero byte", [[s:send("say a\\0b\\n\n") return s:receive()]] },
  -- numbers of bytes
  { "bytes", [[s:send("say abcdef\n") return s:receive(1), s:receive(2), s:receive("3")]] },
  { "bytes before a timeout", [[s:send("say abc\n") s:settimeout(0.1) return s:receive(5)]] },
  { "bytes before the end", [[s:send("say abc\nend\n") return s:receive(5)]] },
  { "more bytes than any memory has", [[s:send("say abc\nend\n") return s:receive(1e15)]] },
  { "bytes at the end", [[s:send("end\n") return s:receive(5)]] },
  { "bytes with a prefix", [[s:send("say abcdef\n") return s:receive(4, "12"), s:receive(2, "123"),
    s:receive(3, "123"), s:receive(3, "")]] },
  { "no bytes, of some", [[s:send("say abc\n") return s:receive(0), s:receive(3)]] },
  { "no bytes, of none", [[s:settimeout(0.05) return s:receive(0)]] },
  { "no bytes with a prefix", [[s:settimeout(0.05) return s:receive(0, "abc")]] },
  { "no bytes at the end", [[s:send("end\n") return s:receive(0)]] },
  { "many bytes", [[s:send("fill 300000\n") local data = s:receive(300000)
    return #data, data:find("[^x]")]] },
  { "a long line", [[s:send("fill 200000\nsay \\n\n") return #s:receive()]] },
  -- all
  { "all", [[s:send("say one\\ntwo\nend\n") return s:receive("*a")]] },
  { "all of much", [[s:send("fill 300000\nend\n") return #s:receive("*a")]] },
  { "all of nothing", [[s:send("end\n") return s:receive("*a")]] },
  { "all with a prefix", [[s:send("say one\nend\n") return s:receive("*a", "zero")]] },
  { "all of nothing with a prefix", [[s:send("end\n") return s:receive("*a", "zero")]] },
  { "all, before a timeout", [[s:send("say one\n") s:settimeout(0.1) return s:receive("*a")]] },
  { "all, twice", [[s:send("say one\nend\n") return s:receive("*a"), s:receive("*a")]] },
  -- patterns
  { "unknown patterns", [[return pcall(s.receive, s, "*x"), select(2, pcall(s.receive, s, "*x")),
    select(2, pcall(s.receive, s, "*L")), select(2, pcall(s.receive, s, -1)),
    select(2, pcall(s.receive, s, ""))]] },
  { "a table as pattern", [[return pcall(s.receive, s, {})]] },
  { "true as pattern", [[return pcall(s.receive, s, true)]] },
  -- ends
  { "receive after the peer's close", [[tell "say bye" s:send("close\n") return s:receive(3),
    s:receive()]] },
  { "receive after close", [[s:close() return s:receive()]] },
  { "receive after close, with a prefix", [[s:close() return s:receive(5, "abc")]] },
  { "receive after a reset", [[tell "say ok\\n" s:receive() s:send("reset\n") return
    s:receive()]] },
  { "close twice", [[return s:close(), s:close()]] },
  { "shutdown", [[return s:shutdown(), s:shutdown("both"), s:shutdown("send"),
    s:shutdown("receive"), s:receive()]] },
  { "unknown shutdown", [[return pcall(s.shutdown, s, "x")]] },
  { "shutdown ends our direction", [[s:send("say yes\n") s:shutdown("send") return
    s:receive("*a")]] },
  -- limits
  { "timeout 0", [[s:settimeout(0) return s:receive(), s:receive("*a"), s:receive(3)]] },
  { "timeout 0 with bytes", [[tell "say abc\\n" s:settimeout(0) return s:receive(2),
    s:receive()]] },
  { "settimeout", [[return s:settimeout(1), s:settimeout(nil), s:settimeout(-1), s:settimeout(),
    s:settimeout(1, "t"), s:settimeout(1, "b"), s:settimeout(1, "total"), s:settimeout(1, "r")]] },
  { "gettimeout", [[s:settimeout(3) s:settimeout(4, "t") return s:gettimeout()]] },
  { "gettimeout without limits", [[return s:gettimeout()]] },
  { "total timeout", [[s:settimeout(0.1, "t") return s:receive()]] },
  { "both timeouts", [[s:settimeout(0.1, "t") s:settimeout(5) return s:receive()]] },
  { "unknown mode", [[return pcall(s.settimeout, s, 1, "x")]] },
  { "unknown limit", [[return pcall(s.settimeout, s, {})]] },
  { "a limit as text", [[return pcall(s.settimeout, s, "1")]] },
  -- names and figures
  { "getpeername", [[local a, b, c = s:getpeername() return a, b == port, math.type(b), c]] },
  { "getsockname", [[local a, b, c = s:getsockname() return a, tonumber(b) > 0, c]] },
  { "names after close", [[s:close() return s:getpeername(), s:getsockname()]] },
  { "getfd", [[local fd = s:getfd() s:close() return fd > 2, s:getfd()]] },
  { "getfamily", [[return s:getfamily(), socket.tcp4():getfamily(), socket.tcp6():getfamily()]] },
  { "dirty", [[tell "say ab\\ncd\\n" local before = s:dirty() s:receive() return before, s:dirty(),
    s:receive(), s:dirty()]] },
  { "getstats", [[s:send("say 12345\n") s:receive(3) local received, sent, age = s:getstats()
    return sent, age >= 0 and age < 60]] },
  { "setstats", [[local ok = s:setstats(10, 20, 30) local received, sent, age = s:getstats()
    return ok, received, sent, age >= 30 and age < 90]] },
  -- options
  { "options", [[
    local list = {}
    for _, name in ipairs { "keepalive", "reuseaddr", "tcp-nodelay" } do
      list[#list + 1] = s:setoption(name, true)
      list[#list + 1] = s:getoption(name)
      list[#list + 1] = s:setoption(name, false)
      list[#list + 1] = s:getoption(name)
    end
    for _, name in ipairs { "tcp-keepidle", "tcp-keepcnt", "tcp-keepintvl" } do
      list[#list + 1] = s:setoption(name, 7)
      list[#list + 1] = s:getoption(name)
    end
    return list]] },
  { "linger", [[s:setoption("linger", { on = true, timeout = 3 })
    local linger = s:getoption("linger") return linger.on, linger.timeout]] },
  { "unknown options", [[return pcall(s.setoption, s, "foo", 1), select(2, pcall(s.setoption, s,
    "foo", 1)), select(2, pcall(s.getoption, s, "foo")), select(2, pcall(s.setoption, s,
    "keepalive", 1)), select(2, pcall(s.setoption, s, "linger", 1))]] },
  { "the option error", [[return s:getoption("error"), pcall(s.setoption, s, "error", true)]] },
  { "options after close", [[s:close() return s:setoption("keepalive", true)]] },
  { "getoption after close", [[s:close() return s:getoption("keepalive")]] },
  -- connecting
  { "connection refused", [[return socket.connect(host, closed)]] },
  { "connection refused of tcp", [[local t = socket.tcp() return t:connect(host, closed)]] },
  { "connect again after a failure", [[local t = socket.tcp() t:connect(host, closed)
    local ok = t:connect(host, port) t:send("say ok\\n\n") return ok, t:receive()]] },
  { "connect twice", [[return s:connect(host, port)]] },
  { "connect after close", [[s:close() local ok = s:connect(host, port) s:send("say ok\\n\n")
    return ok, s:receive()]] },
  { "connect by a port as text", [[local t = socket.tcp() return t:connect(host,
    tostring(port))]] },
  { "connect by name", [[local t = socket.tcp() return t:connect("localhost", port)]] },
  { "connect to a port beyond all integers", [[return socket.connect(host, 1e300)]] },
  { "connect4", [[return socket.connect4("localhost", port):getpeername()]] },
  { "tcp4", [[return socket.tcp4():connect("localhost", port)]] },
  { "tcp6 to an address of version 4", [[return socket.tcp6():connect("127.0.0.1", port)]] },
  { "an unknown host", [[return socket.connect("nonexistent.invalid", port)]] },
  { "an unknown service", [[return socket.connect(host, "nosuch-service")]] },
  { "connect without a port", [[return pcall(socket.tcp().connect, socket.tcp(), host)]] },
  { "connect to texts that are no hosts", [[local list = {}
    for i, name in ipairs { "", "256.1.1.1", "http://127.0.0.1", "127.0.0.1:80" } do
      list[i] = { socket.connect(name, port) }
    end
    return list]] },
  { "connect to short addresses", [[return socket.connect("127.1", port) ~= nil,
    socket.connect("0x7f000001", port) ~= nil, socket.connect("0.0.0.0", port) ~= nil,
    socket.connect("0177.0.0.01", port) ~= nil]] },
  { "socket.connect without a port", [[return pcall(socket.connect, host)]] },
  { "connect without a host", [[return pcall(socket.tcp().connect, socket.tcp())]] },
  { "a local address", [[return socket.connect(host, port, "127.0.0.1", 0):getsockname() ==
    "127.0.0.1"]] },
  { "bind before connect", [[local t = socket.tcp() local ok = t:bind("127.0.0.1", 0)
    return ok, t:connect(host, port), (t:getsockname())]] },
  { "a strange local address", [[return socket.connect(host, port, "192.0.2.1", 0)]] },
  { "methods of a socket that is not connected", [[local t = socket.tcp4() local list = {}
    for i, name in ipairs { "receive", "send", "shutdown", "getstats" } do
      list[i] = pcall(t[name], t)
    end
    return list]] },
  { "getpeername of a socket that is not connected", [[return socket.tcp4():getpeername()]] },
  { "getsockname of a socket that is not connected", [[return socket.tcp4():getsockname()]] },
  -- the module
  { "values", [[return socket._VERSION, socket.BLOCKSIZE, socket._DATAGRAMSIZE, socket._SETSIZE,
    socket._SOCKETINVALID]] },
  { "skip", [[return socket.skip(2, 1, 2, 3, 4)]] },
  { "skip all", [[return select("#", socket.skip(4, 1, 2, 3, 4))]] },
  { "try", [[return socket.try(1, 2, 3)]] },
  { "protect", [[local f = socket.protect(function(...) return socket.try(...) end)
    return f(1, 2), f(nil, "why"), f(false, "other")]] },
  { "protect returns nil and the value", [[return socket.protect(function() socket.try(nil, { 1
    }) end)()]] },
  { "protect and other errors", [[return pcall(socket.protect(function() error("x", 0) end))]] },
  { "newtry", [[local log = {} local try = socket.newtry(function() log[#log + 1] = "closed" end)
    local ok, why = socket.protect(function() try(nil, "broken") end)()
    try(1) return ok, why, log]] },
  { "newtry whose finalizer fails", [[local try = socket.newtry(function() error "bad" end)
    return socket.protect(function() try(nil, "broken") end)()]] },
  { "protect in protect", [[return socket.protect(function()
    return 1, socket.protect(function() socket.try(nil, "inner") end)() end)()]] },
  { "what try throws", [[local ok, err = pcall(socket.try, nil, "why") return ok, type(err)]] },
  { "choose", [[local f = socket.choose { default = function(a, b) return "d", a, b end,
    x = function(a, b) return "x", a, b end } return { f(1, 2) }, { f("x", 1,
    2) }, pcall(f, "y")]] },
  { "gettime", [[local t = socket.gettime() return math.abs(t - os.time()) < 5]] },
  { "sleep", [[local t = socket.gettime() socket.sleep(0.05) return socket.gettime() - t >=
    0.045]] },
  { "sleep of a text", [[return socket.sleep("0.01"), (pcall(socket.sleep, "x"))]] },
  { "sleep of no time", [[return socket.sleep(0), socket.sleep(-1)]] },
  -- select
  { "select of what has bytes", [[tell "say abc" local t = socket.connect(host, port)
    local r, w, err = socket.select({ t, s }, nil, 5)
    return #r, r[1] == s, r[s], r[t], #w, err]] },
  { "select of bytes in the buffer", [[s:send("say abc\n") s:receive(1)
    local r = socket.select({ s }, nil, 5) return #r, s:receive(2)]] },
  { "select of what ends", [[s:send("end\n") local r, _, err = socket.select({ s }, nil, 5)
    return #r, err, s:receive()]] },
  { "select of senders", [[local r, w, err = socket.select({ s }, { s }, 5)
    return #r, #w, w[s], err]] },
  { "select and time", [[local t = socket.gettime() local r, w, err = socket.select({ s }, {}, 0.1)
    return #r, #w, err, socket.gettime() - t >= 0.09]] },
  { "select without waiting", [[return socket.select({ s }, nil, 0)]] },
  { "select without sockets", [[local t = socket.gettime()
    local r, w, err = socket.select(nil, nil, 0.1)
    return r, w, err, socket.gettime() - t >= 0.09]] },
  { "select of a closed socket", [[s:close() return socket.select({ s }, { s }, 0)]] },
  { "select of a socket twice", [[tell "say abc" local r = socket.select({ s, s }, nil, 5)
    return #r]] },
  { "select of a source", [[tell "fill 10" local source = socket.source("by-length", s, 10)
    local r = socket.select({ source }, nil, 5) return #r, r[1] == source, #source()]] },
  { "select of objects that are no sockets", [[return socket.select({ {}, {} }, nil, 0)]] },
  { "select of no list", [[return pcall(socket.select, "s", nil, 0)]] },
  { "select and a connection in progress", [[local t = socket.tcp() t:settimeout(0)
    local ok, err = t:connect(host, port) local _, w = socket.select(nil, { t }, 5)
    t:settimeout(5) return ok, err, #w, t:send("say ok\\n\n"), t:receive()]] },
  { "select and a connection that fails", [[local t = socket.tcp() t:settimeout(0)
    local ok, err = t:connect(host, closed) local _, w = socket.select(nil, { t }, 5)
    return ok, err, #w, t:connect(host, closed)]] },
  -- sinks and sources
  { "sink keep-open", [[local sink = socket.sink("keep-open", s)
    return sink("say ok\\n\n"), sink(nil), s:receive()]] },
  { "sink close-when-done", [[local sink = socket.sink("close-when-done", s)
    return sink("say ok\\n\n"), sink(nil), s:receive()]] },
  { "source by-length", [[s:send("fill 5000\n") local source = socket.source("by-length", s, 4100)
    return #source(), #source(), #source(), source()]] },
  { "source until-closed", [[s:send("fill 3000\nend\n") local source =
    socket.source("until-closed", s)
    return #source(), #source(), source(), s:receive()]] },
  -- names
  { "toip", [[local ip, all = socket.dns.toip("localhost") return ip, type(all.name),
    type(all.alias),
    all.ip[1] ]] },
  { "toip of an address", [[return (socket.dns.toip("127.0.0.1"))]] },
  { "toip of an unknown host", [[return (socket.dns.toip("nonexistent.invalid"))]] },
  { "tohostname", [[return type(socket.dns.tohostname("127.0.0.1"))]] },
  { "getaddrinfo", [[local list = socket.dns.getaddrinfo("127.0.0.1") return list]] },
  { "getaddrinfo of an unknown host", [[return socket.dns.getaddrinfo("nonexistent.invalid")]] },
  { "getnameinfo", [[return pcall(socket.dns.getnameinfo, "127.0.0.1")]] },
  { "gethostname", [[return socket.dns.gethostname()]] },
}

cases.list = list

--- Runs a case in a Lua of any program. Returns a text of its results.
cases.RUNNER = [==[
local function rendered(value)
  if math.type(value) == "float" and value == math.floor(value) then
    return ("%d"):format(value)
  elseif type(value) == "table" then
    local keys, parts = {}, {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for i, key in ipairs(keys) do parts[i] = tostring(key) .. "=" .. rendered(value[key]) end
    return "{" .. table.concat(parts, ", ") .. "}"
  elseif type(value) == "string" then
    return ("%q"):format(value:match("^bad argument #%d to .-( %(.*%))$")
      or value:match(":%d+: (.*)$") or value)
  end
  return tostring(value)
end

return function(socket, source, host, port, closed)
  local s = assert(socket.connect(host, port))
  local function tell(...)
    local text = table.concat({ ... }, "\n") .. "\n"
    s:send(text)
    socket.sleep(0.05) -- the answer is there then
  end
  local run = assert(load(source, "=case", "t", setmetatable({ socket = socket, host = host,
    port = port, closed = closed, s = s, tell = tell }, { __index = _G })))
  local results = table.pack(pcall(run))
  for i = 1, results.n do results[i] = rendered(results[i]) end
  s:close()
  return table.concat(results, " ")
end
]==]

return cases
