-- state_spec.lua -- the state file: what a restart keeps of tw.shared and tw.keep, and what becomes
-- of a file that cannot be used.

local cjson = require "cjson"
local faults = require "support.faults"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

-- Each message is a chunk of Lua, whose result comes back as JSON.
local APP = [[
local tw = require "tidewire"
local here = require "here"
local top = tw.keep("top", { made = 0, list = { 1, 2, 3 }, nested = { run = print } })
local nested = top.nested
return {
  state = %s,
  on_load = function()
    rawset(_G, "seen_by_on_load", top.made)
    tw.keep("loads").n = (tw.keep("loads").n or 0) + 1
  end,
  endpoints = {
    ["/"] = {
      codec = "text",
      validate = here.validate,
      handle_message = function(conn, message)
        local run = load(message, "=test", "t", setmetatable({
          tw = tw, top = top, nested = nested, seen = seen_by_on_load,
        }, { __index = _G }))
        conn:send(tw.json.encode({ run() }))
      end,
    },
  },
}
]]

local app = APP:format('"app.state"')

describe("a state file", function()
  local folder, file
  local servers

  before_each(function()
    folder = process.make_directory()
    file = folder .. "/app.state"
    servers = {}
  end)
  after_each(function()
    stream.close_all()
    for _, one in ipairs(servers) do one:stop() end
    process.remove_directory(folder)
  end)

  -- A server with this state file, and a client of its first worker.
  local function start(options)
    options = options or {}
    options.app = options.app or app
    options.options = table.move(options.options or {}, 1, #(options.options or {}), 3,
      { "--state", file })
    local one = server.start(options)
    servers[#servers + 1] = one
    return one
  end

  local function ask_on(one, worker, chunk)
    local ada = one:connect_on(worker)
    local answer = cjson.decode((ada:ask(chunk)))
    ada:close()
    return table.unpack(answer)
  end

  local function ask(one, chunk) return ask_on(one, 0, chunk) end

  -- Ends it. Its log stays readable.
  local function stop(one, code)
    stream.close_all()
    one:signal("sigterm")
    assert.equal(code or 0, (one.process:wait_exit(loop.patience + 15)), one:log())
    one.last = one:log()
    one:stop(code)
    return one.last
  end

  local function files()
    local names = {}
    local scan = assert(uv.fs_scandir(folder))
    for name in uv.fs_scandir_next, scan do names[#names + 1] = name end
    table.sort(names)
    return names
  end

  -- Makes a file with a key and a table.
  local function make_file()
    local one = start()
    ask(one, 'tw.shared("s"):set("key", "kept") top.made = 7')
    stop(one)
    return process.read_file(file)
  end

  it("keeps the values of tw.shared, each of its type", function()
    local first = start()
    ask(first, [[
      local s = tw.shared("values")
      s:set("text", "a\0b") s:set("empty", "") s:set("integer", math.mininteger)
      s:set("float", 1/3) s:set("nan", 0/0) s:set("yes", true) s:set("no", false)
      s:set("", "the empty key") s:set("gone", 1) s:set("gone", nil)
      tw.shared("other", { max_bytes = "1M" }):set("x", 1)
    ]])
    stop(first)
    local second = start()
    local kept = { ask(second, [[
      local s = tw.shared("values")
      return s:get("text"), s:get("empty"), s:get("integer") == math.mininteger,
        s:get("float") == 1/3, s:get("nan") ~= s:get("nan"), s:get("yes"), s:get("no") == false,
        s:get(""), s:get("gone") == nil, tw.shared("other"):get("x")
    ]]) }
    assert.same({ "a\0b", "", true, true, true, true, true, "the empty key", true, 1 }, kept)
    assert.matches("event=state_taken .-stores=2 keys=9 ", second:log())
  end)

  it("keeps what is left of the time of a key, by the time of day", function()
    local first = start()
    ask(first, 'local s = tw.shared("s") s:set("short", 1, 500) s:set("long", 2, 5000) '
      .. 's:set("ever", 3)')
    stop(first)
    local second = start(faults.options({ prepare = function(own)
      local clock = assert(io.open(own .. "/faults", "r+b"))
      clock:seek("set", 4 * 10)
      clock:write(string.pack("=i4", 1000))
      clock:close()
    end }))
    assert.same({ true, 2, 3 }, { ask(second, 'local s = tw.shared("s") '
      .. 'return s:get("short") == nil, s:get("long"), s:get("ever")') })
  end)

  it("lets a script set the limit of a store that it opens later", function()
    local first = start()
    ask(first, 'tw.shared("small", { max_bytes = "1M" }):set("x", "1")')
    stop(first)
    local second = start()
    assert.is_true(ask(second, 'local s = tw.shared("small", { max_bytes = "8M" }) '
      .. 'return s:get("x") == "1" and s:set("large", ("x"):rep(4 << 20))'))
    assert.same({}, second:log_lines("max_bytes"))
  end)

  it("fills the tables of tw.keep in their places", function()
    local first = start()
    assert.equal(0, ask(first, "return seen"))
    ask(first, [[
      top.made, top.nested.n, top.list = top.made + 7, { deep = { 1.5, "x", [9] = true } }, { 9 }
      tw.keep("later").x = 1
    ]])
    stop(first)
    local second = start()
    assert.same({ 7, 7, 1.5, "x", true, 1, true, true },
      { ask(second, [[
        local n = nested.n.deep
        return top.made, seen, n[1], n[2], n[9], #top.list, nested == top.nested,
          nested.run == print
      ]]) })
    assert.same({ 1, "function" }, { ask(second, [[
      local later = tw.keep("later", { x = 0, y = 0, f = print })
      return later.x, later.y or type(later.f)
    ]]) })
  end)

  it("keeps a table that no call asks for", function()
    local first = start()
    ask(first, 'tw.keep("rare").x = 5')
    stop(first)
    stop(start())
    assert.same({ 5, 3 }, { ask(start(), 'return tw.keep("rare").x, tw.keep("loads").n') })
  end)

  it("leaves out what is no plain data, and names it once", function()
    local first = start()
    ask(first, [[
      top.a = { b = { print, 2 }, [print] = 1 }
      top.me, top.null, top.room = top, tw.json.null, tw.room("x")
      for i = 1, 1000 do top[("f%d"):format(i)] = print end
    ]])
    local log = stop(first)
    local line = log:match("event=left_out[^\n]*")
    assert.is_nil(log:match("event=left_out.*event=left_out"))
    for _, name in ipairs { "a.b[1]", "a[function]", "me", "null", "room" } do
      assert.is_truthy(line:find("tw.keep(top)." .. name, 1, true) or line:find("more=%d"), line)
    end
    assert.is_true(#line < 2000)
    assert.matches("more=9%d%d", line)
    local second = start()
    assert.same({ true, 2, true, true },
      { ask(second, 'return top.a.b[1] == nil, top.a.b[2], next(top.a) == "b", top.me == nil') })
  end)

  it("is of its owner only, and is used once", function()
    make_file()
    assert.equal(tonumber("600", 8), uv.fs_stat(file).mode & tonumber("777", 8))
    assert.same({ "app.state" }, files())
    local second = start()
    assert.equal("kept", ask(second, 'return tw.shared("s"):get("key")'))
    assert.same({ "app.state.running" }, files())
    second.stopped = true
    second.process:signal("sigkill")
    second.process:wait_exit()
    process.remove_directory(second.directory)
    local third = start()
    assert.is_true(ask(third, 'return tw.shared("s"):get("key") == nil and top.made == 0'))
    assert.equal(1, #third:log_lines("warn .-event=state_lost .-process " .. second.pid))
    stop(third)
    assert.same({}, start():log_lines("state_lost"))
  end)

  local function spoil(whole)
    local function flip(at) return whole:sub(1, at - 1)
      .. string.char(whole:byte(at) ~ 0x41) .. whole:sub(at + 1) end
    return {
      ["truncated"] = { whole:sub(1, -2), "truncated" },
      ["truncated in its header"] = { whole:sub(1, 20), "truncated" },
      ["empty"] = { "", "is empty" },
      ["longer"] = { whole .. "x", "damaged" },
      ["damaged"] = { flip(#whole - 3), "damaged" },
      ["foreign"] = { "-- a script\n" .. whole, "no state file" },
      ["older"] = { whole:sub(1, 8) .. "\0\0\0\0" .. whole:sub(13), "version 0" },
      ["newer"] = { whole:sub(1, 8) .. "\9\0\0\0" .. whole:sub(13), "version 9" },
    }
  end

  for _, what in ipairs { "truncated", "truncated in its header", "empty", "longer", "damaged",
    "foreign", "older", "newer" } do
    it("that is " .. what .. " is put aside, and the server starts", function()
      local bytes, why = table.unpack(spoil(make_file())[what])
      process.write_file(file, bytes)
      local one = start()
      local lines = one:log_lines("error .-event=state_bad")
      assert.equal(1, #lines)
      assert.matches(why, lines[1])
      local aside = lines[1]:match("put_aside=(%S+)")
      assert.equal(file .. ".bad-", aside:match("^(.*%.bad%-)%d+T%d+Z$"))
      assert.equal(bytes, process.read_file(aside))
      assert.is_true(ask(one, 'return tw.shared("s"):get("key") == nil and top.made == 0'))
      stop(one)
      assert.equal(1, #start():log_lines("event=state_taken"))
    end)
  end

  it("stays where the start fails", function()
    local whole = make_file()
    for _, options in ipairs {
      { app = app .. " + 1" }, { listen = { "198.51.100.1:80" } },
      { app = app:gsub("rawset", "error('no') rawset") },
    } do
      options.app = options.app or app
      options.options = { "--state", file }
      local code, log = server.launch_to_end(options)
      assert.is_truthy(code and code ~= 0, log)
      assert.equal(whole, process.read_file(file))
      assert.same({ "app.state" }, files())
    end
  end)

  it("is used by one server at a time", function()
    local one = start()
    local code, log = server.launch_to_end({ app = app, options = { "--state", file } })
    assert.equal(2, code)
    assert.matches("another server uses the state file " .. file:gsub("%p", "%%%0")
      .. " %(process " .. one.pid .. "%)", log)
    ask(one, "top.made = 8")
    stop(one)
    assert.equal(8, ask(start(), "return top.made"))
  end)

  it("must be a file, in a folder that is there", function()
    assert(os.execute(("mkfifo '%s/fifo'"):format(folder)))
    for name, why in pairs {
      [folder] = "is a folder", [folder .. "/none/app.state"] = "No such file or directory",
      [folder .. "/fifo"] = "no regular file", [folder .. "/" .. ("n"):rep(300)] = "too long",
    } do
      local code, log = server.launch_to_end({ app = app, options = { "--state", name } })
      assert.equal(2, code, log)
      assert.matches(why, log)
    end
    assert.same({ "fifo" }, files())
  end)

  it("that cannot be written is said, and leaves no part of itself", function()
    local one = start({ shell = "trap '' XFSZ; ulimit -f 64;" })
    ask(one, 'tw.shared("s"):set("large", ("x"):rep(100000))')
    local log = stop(one, 1)
    assert.matches("error .-event=state_failed .-the state is lost: cannot write .-File too large",
      log)
    assert.same({ "app.state.running" }, files())
    local two = start()
    assert.equal(1, #two:log_lines("event=state_lost"))
    stop(two)
    assert.same({ "app.state" }, files())
  end)

  it("is named by the command line, the environment or the app", function()
    local own = start({ options = {}, environment = { TIDEWIRE_STATE = folder .. "/not" } })
    stop(own)
    assert.same({ "app.state" }, files()) -- the command line
    os.remove(file)
    local code = 0
    local by_environment = server.start({ app = app, environment = { TIDEWIRE_STATE = "rel" } })
    by_environment:signal("sigterm")
    assert.equal(code, (by_environment.process:wait_exit()))
    assert.is_truthy(uv.fs_stat(by_environment.directory .. "/rel"))
    by_environment:stop()
    local by_app = server.start({
      files = { ["deep/app.lua"] = app }, app_path = "deep/app.lua",
    })
    by_app:signal("sigterm")
    by_app.process:wait_exit()
    assert.is_truthy(uv.fs_stat(by_app.directory .. "/deep/app.state"))
    by_app:stop()
    local none = server.start({ app = APP:format("false") })
    none:signal("sigterm")
    none.process:wait_exit()
    assert.is_nil(none:log():find("state_written", 1, true))
    none:stop()
  end)

  it("is described by tidewire check, which changes nothing", function()
    local script = folder .. "/app.lua"
    process.write_file(script, (app:gsub('require "here"', "{}")))
    local function check()
      local result = server.run({ "check", script })
      return result.stdout
    end
    assert.matches("app%.state: there is none yet", check())
    local whole = make_file()
    assert.matches("app%.state: written %d+T%d+Z, %d+ bytes, 0 sessions, 1 stores, 1 keys, %d tab",
      check())
    process.write_file(file, whole:sub(1, -2))
    assert.matches("app%.state: it is truncated.-would put it aside", check())
    assert.same({ "app.lua", "app.state" }, files())
  end)

  it("gives each worker its own tables, and says which have no worker any more", function()
    local first = start({ workers = 3 })
    for worker = 0, 2 do ask_on(first, worker, ("top.made = %d + 1"):format(worker)) end
    ask_on(first, 2, 'tw.keep("of two").x = 1')
    stop(first)
    local second = start({ workers = 2 })
    local function made(one, worker) return (ask_on(one, worker, "return top.made")) end
    assert.same({ 1, 2 }, { made(second, 0), made(second, 1) })
    local lines = second:log_lines("event=left_out")
    assert.equal(1, #lines)
    assert.matches('names="loads, of two, top" tables=3', lines[1])
    stop(second)
    local third = start({ workers = 3 })
    assert.same({ 2, 0 }, { made(third, 1), made(third, 2) })
    assert.same({}, third:log_lines("event=left_out"))
  end)

  it("says so of tables of any name", function()
    local first = start({ workers = 3 })
    for worker = 0, 2 do
      ask_on(first, worker, [[tw.keep("\0").x, tw.keep("a\0b").x = 1, 2]])
    end
    stop(first)
    local second = start({ workers = 1 })
    local lines = second:log_lines("event=left_out")
    assert.equal(1, #lines)
    assert.matches('names="a, loads, top" tables=8', lines[1])
    assert.same({ 1, 2 }, { ask(second, [[return tw.keep("\0").x, tw.keep("a\0b").x]]) })
  end)

  it("has what hooks of the end have changed", function()
    local ending = app:gsub("on_load =",
      'on_stop = function() tw.keep("end").by = "on_stop" end, on_load =')
    stop(start({ app = ending }))
    assert.equal("on_stop", ask(start(), 'return tw.keep("end").by'))
  end)

  it("needs a restart to change", function()
    local one = server.start({ app = APP:format('"one"') })
    process.write_file(one.directory .. "/app.lua", APP:format('"two"'))
    one:signal("sighup")
    assert.is_truthy(one:wait_for_log("`state` has changed: restart"))
    one:signal("sigterm")
    one.process:wait_exit()
    assert.is_truthy(uv.fs_stat(one.directory .. "/one"))
    one:stop()
  end)
end)
