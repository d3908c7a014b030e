-- missing_spec.lua -- errors about a missing name of the library's objects suggest the right one.

local fake_app = require "support.fake_app"

local world

before_each(function() world = fake_app:install() end)
after_each(function() world:uninstall() end)

--- The log's reason for the error of a hook that runs this code.
local function why(code)
  local run = assert(load("local tw, conn = ... " .. code, "=code"))
  world:serve {
    handle_message = function(conn) run(require "tidewire", conn) end, on_error = function() end,
  }
  local conn = world:connect()
  world.logs = {}
  world:receive(conn, "x")
  local line = world:logged("script_error")[1]
  return line and line.fields.why
end

describe("an error about a missing name suggests the right one:", function()
  for code, expected in pairs {
    ['conn:snd("x")'] = "attempt to call a nil value (method 'snd'); did you mean conn:send?",
    ['conn.sned(conn, "x")'] =
      "attempt to call a nil value (field 'sned'); did you mean conn:send?",
    ["conn:isOpen()"] = "attempt to call a nil value (method 'isOpen'); did you mean conn:is_open?",
    ["local clos = conn.clos clos()"] =
      "attempt to call a nil value (local 'clos'); did you mean conn:close?",
    ["return conn.reqest.path"] =
      "attempt to index a nil value (field 'reqest'); did you mean conn.request?",
    ["return conn.backlg + 1"] =
      "attempt to perform arithmetic on a nil value (field 'backlg'); did you mean conn.backlog?",
    ['return "from " .. conn.pth'] =
      "attempt to concatenate a nil value (field 'pth'); did you mean conn.path?",
    ['conn:emit("x")'] = "attempt to call a nil value (method 'emit'); did you mean conn:send?",
    ["return conn.headers.cookie"] =
      "attempt to index a nil value (field 'headers'); did you mean conn.request.headers?",
    ["return conn.request.header.cookie"] =
      "attempt to index a nil value (field 'header'); did you mean request.headers?",
    ["return conn.request.qery.x"] =
      "attempt to index a nil value (field 'qery'); did you mean request.query?",
    ['tw.brodcast("x")'] =
      "attempt to call a nil value (field 'brodcast'); did you mean tw.broadcast?",
    ['tw:brodcast("x")'] =
      "attempt to call a nil value (method 'brodcast'); did you mean tw.broadcast?",
    ["tw.setTimeout(print, 1)"] =
      "attempt to call a nil value (field 'setTimeout'); did you mean tw.after?",
    ["tw.jsn.encode(1)"] = "attempt to index a nil value (field 'jsn'); did you mean tw.json?",
    ["tw.zzzzzz()"] = "attempt to call a nil value (field 'zzzzzz'); tw has no such name",
    ["tw.json.encod(1)"] =
      "attempt to call a nil value (field 'encod'); did you mean tw.json.encode?",
    ["tw.json.stringify(1)"] =
      "attempt to call a nil value (field 'stringify'); did you mean tw.json.encode?",
    ["tw.log.warning('x')"] =
      "attempt to call a nil value (field 'warning'); did you mean tw.log.warn?",
    ["tw.log.loudly('x')"] =
      "attempt to call a nil value (field 'loudly'); tw.log has debug, error, info and warn",
    ["tw.jwt.verfy('x')"] =
      "attempt to call a nil value (field 'verfy'); did you mean tw.jwt.verify?",
    ["tw.http.get('x')"] =
      "attempt to call a nil value (field 'get'); did you mean tw.http.request?",
    ['tw.room("a"):brodcast(1)'] =
      "attempt to call a nil value (method 'brodcast'); did you mean room:broadcast?",
    ['tw.room("a"):send(1)'] =
      "attempt to call a nil value (method 'send'); did you mean room:broadcast?",
    ['tw.room("a"):zzzzzz(1)'] =
      "attempt to call a nil value (method 'zzzzzz'); room has broadcast, clear_history, "
        .. "history, members, name, offset, size, users and watch",
    ['return tw.room("a").nam .. "x"'] =
      "attempt to concatenate a nil value (field 'nam'); did you mean room.name?",
    ["tw.after(9, print):cancle()"] =
      "attempt to call a nil value (method 'cancle'); did you mean timer:cancel?",
    ["conn:every(9, print):stop()"] =
      "attempt to call a nil value (method 'stop'); did you mean timer:cancel?",
  } do
    it(code, function()
      local text = why(code)
      assert.equal("code:1: " .. expected, text)
    end)
  end

  for _, code in ipairs {
    '("a message"):send("x")', 'conn.id:send("x")', 'local own = {} own:send("x")',
  } do
    it("a connection's method on another value: " .. code, function()
      assert.equal("code:1: attempt to call a nil value (method 'send'); what stands before :send "
        .. "is no connection: a hook's arguments come in the order (conn, message, kind), and a "
        .. "room's members are ids, for tw.send and tw.close", why(code))
    end)
  end

  it("nothing is added to a name that no object of ours has", function()
    assert.equal("code:1: attempt to call a nil value (method 'zzz')", why '("a"):zzz()')
  end)

  it("while the script is loaded", function()
    local task = world:load('local tw = require "tidewire"\ntw.evry(1, print)\nreturn {}')
    assert.matches("2: attempt to call a nil value %(field 'evry'%); did you mean tw.every%?",
      task.results[2][1])
  end)

  it("in what the script has thrown on", function()
    assert.equal("code:1: code:1: attempt to call a nil value (method 'snd'); did you mean "
      .. "conn:send?",
      why "coroutine.wrap(function() conn:snd(1) end)()")
  end)
end)

describe("an error explains a name that is used as another kind:", function()
  for code, expected in pairs {
    ["conn:id()"] =
      "attempt to call a string value (method 'id'); conn.id is a value: write it without ( ), "
        .. "if that was meant",
    ["conn.request.headers('x')"] =
      "attempt to call a tidewire.headers value (field 'headers'); request.headers is "
        .. "a table: look into it with [ ] or a dot, if that was meant",
    ["tw.version()"] = "attempt to call a string value (field 'version'); tw.version is a value: "
      .. "write it without ( ), if that was meant",
    ["tw.room.broadcast('x')"] =
      "attempt to index a function value (field 'room'); tw.room is a function: call it, "
        .. "if that was meant",
    ["return conn.rooms[1]"] =
      "attempt to index a function value (field 'rooms'); conn:rooms is a function: call it, "
        .. "if that was meant",
  } do
    it(code, function() assert.equal("code:1: " .. expected, why(code)) end)
  end

  it("as are globals that are not there", function()
    assert.equal("code:1: attempt to index a nil value (global 'uv'); local uv = require \"luv\" "
      .. "is missing",
      why "uv.now()")
    world:serve {
      handle_message = assert(load("return function() tw.broadcast('x') end", "=code"))(),
    }
    world.logs = {}
    world:receive(world:connect(), "x")
    assert.equal("code:1: attempt to index a nil value (global 'tw'); local tw = require "
      .. "\"tidewire\" is missing",
      world:logged("script_error")[1].fields.why)
    assert.matches("%)$", why "players.ada = 1")
  end)

  it("and modules whose names are misspelt", function()
    local task = world:load('local tw = require "tidwire"\nreturn {}')
    assert.matches("module 'tidwire' not found: .*; did you mean \"tidewire\"%?",
      task.results[2][1])
    task = world:load('require "handlers.chat"\nreturn {}')
    assert.matches("nor on the system's paths$", task.results[2][1]:match("^[^\n]*"))
  end)

  it("but not for names of the script's own", function()
    assert.matches("%)$", why "local own = { colour = 'red' } own.colour()")
    assert.matches("%)$", why "local own = { paint = print } return own.paint.colour")
  end)
end)

describe("a missing name is nil, as everywhere in Lua:", function()
  it("a connection's other fields, functions of other versions", function()
    assert.is_nil(why [[
      assert(conn.snd == nil and conn[1] == nil and tw.brodcast == nil and tw.json.parse == nil)
      assert(tw.room("a").topic == nil and conn.request.user == nil)
    ]])
  end)

  it("and an error about something of the script's own gets no advice", function()
    for _, code in ipairs {
      "({}):snd()", "local player = {} player.brodcast()", "undefined_function()",
    } do
      assert.matches("%)$", why(code))
    end
    assert.matches("%)$", why "local _ = conn.snd, conn.other; ({}):snd()")
    assert.equal("code:1: attempt to call a nil value (field 'zzzzzz')", why "conn.zzzzzz()")
  end)
end)

describe("a table of functions", function()
  it("throws with the reason when it is called itself", function()
    assert.equal("code:1: tw.log is a table of functions, and none itself; tw.log has debug, "
      .. "error, info and warn",
      why "tw.log('x')")
    assert.equal("code:1: tw.http is a table of functions, and none itself; tw.http has request",
      why "tw.http {}")
  end)

  for code, expected in pairs {
    ["tw:sleep(1)"] = "tw.sleep: seconds must be a number from 0 to 1e9, got tw itself: DOT",
    ["tw:after(1, print)"] = "tw.after: seconds must be a number from 0 to 1e9, got tw itself: DOT",
    ["tw:every(1, print)"] =
      "tw.every: seconds must be a number from 0.001 to 1e9, got tw itself: DOT",
    ["tw:spawn(print)"] = "tw.spawn: a function is needed, got tw itself: DOT",
    ["tw:await(print)"] = "tw.await: a function is needed, got tw itself: DOT",
    ['tw:room("a")'] = "tw.room: a name is needed, got tw itself: DOT",
    ['tw:keep("a")'] = "tw.keep: a name is needed, got tw itself: DOT",
    ['tw:shared("a")'] = "tw.shared: a name is needed, got tw itself: DOT",
    ['tw:send(conn.id, "x")'] = "tw.send: a conn.id is needed, got tw itself: DOT",
    ['tw:broadcast("x")'] = "tw.broadcast: call it with a dot, tw.broadcast(…)",
    ["tw:broadcast({ a = 1 })"] = "tw.broadcast: call it with a dot, tw.broadcast(…)",
    ['tw:broadcast("x", conn)'] = "tw.broadcast: call it with a dot, tw.broadcast(…)",
    ["tw:broadcast()"] =
      'tw.broadcast: a string is needed for the codec "text", got tw itself: DOT',
    ['tw.log:info("x")'] = "tw.log.info: call it with a dot, tw.log.info(…)",
    ['tw.json:encode("x")'] = "value is tw.json itself: DOT",
    ['tw.json:decode("x")'] =
      "calling 'decode' on bad self (string expected, got tw.json itself: DOT)",
    ["tw.json:array({})"] = "calling 'array' on bad self (it has a metatable of its own)",
    ['tw.jwt:verify("x", {})'] = "tw.jwt.verify: call it with a dot, tw.jwt.verify(…)",
    ['tw.jwt:sign({}, {})'] = "tw.jwt.sign: call it with a dot, tw.jwt.sign(…)",
    ['tw.http:request({})'] =
      "tw.http.request: a table of options is needed, got tw.http itself: DOT",
  } do
    it("wants a dot: " .. code, function()
      assert.equal("code:1: " .. expected:gsub("DOT", "call it with a dot, not with a colon"),
        why(code))
    end)
  end
end)

describe("an error about an object of the library in JSON says what to send instead:", function()
  for code, expected in pairs {
    ["{ from = conn }"] = "value.from is a connection; send its id, conn.id",
    ["conn"] = "value is a connection; send its id, conn.id",
    ['{ 1, tw.room("a") }'] = "value[2] is a room; send its name, room.name",
    ["{ t = tw.after(9, print) }"] = "value.t is a timer; it is of use in this worker only",
    ["{ conn.request }"] =
      "value[1] is a request; send the fields that are needed, such as request.path",
    ["{ f = print }"] =
      "value.f is a function: JSON has only objects, arrays, strings, numbers, booleans and null; "
        .. "call it, or leave it out",
  } do
    it(code, function()
      assert.equal("code:1: " .. expected, why("tw.json.encode(" .. code .. ")"))
    end)
  end

  it("in a table with a metatable of the script's own nothing is found fault with", function()
    local encode = "tw.json.encode(setmetatable({ a = 1 }, { __kind = 7, __index = {} }))"
    assert.is_nil(why("assert(" .. encode .. [[ == "{\"a\":1}")]]))
  end)
end)
