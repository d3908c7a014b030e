-- app_spec.lua -- loading an app's file: the result, and the message for each mistake.

local limits = require "support.default_limits"
local app = require "tidewire.load.app"
local lfs = require "lfs"

local folder, loaded_before, path_before, cpath_before, searchers_before

local function write(name, text)
  local path = folder
  for part in name:gmatch("([^/]+)/") do
    path = path .. "/" .. part
    lfs.mkdir(path)
  end
  local handle = assert(io.open(folder .. "/" .. name, "wb"))
  handle:write(text)
  handle:close()
  return folder .. "/" .. name
end

local function texts(list)
  local result = {}
  for i, problem in ipairs(list) do
    result[i] = app.format(problem):gsub(folder:gsub("%p", "%%%0") .. "/", "")
  end
  return result
end

--- Loads a script that must be right, without a warning.
local function load_app(script, request)
  request = request or {}
  request.file = write("app.lua", script)
  local result, problems = app.load(request)
  assert.same({}, texts(problems))
  return result
end

--- The errors of a script that must be wrong, as text.
local function errors_of(script, request)
  request = request or {}
  request.file = write("app.lua", script)
  local result, errors = app.load(request)
  assert.is_nil(result)
  return texts(errors)
end

local function error_of(script, request)
  local errors = errors_of(script, request)
  assert.equal(1, #errors, table.concat(errors, "\n"))
  return errors[1]
end

local function warnings_of(script, request)
  request = request or {}
  request.file = write("app.lua", script)
  local result, warnings = app.load(request)
  assert(result, table.concat(texts(warnings), "\n"))
  return texts(warnings)
end

before_each(function()
  folder = os.tmpname()
  os.remove(folder)
  assert(lfs.mkdir(folder))
  loaded_before, path_before, cpath_before = {}, package.path, package.cpath
  searchers_before = { table.unpack(package.searchers) }
  for name in pairs(package.loaded) do
    loaded_before[name] = true
  end
end)

local function remove(path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then
        remove(path .. "/" .. name)
      end
    end
    lfs.rmdir(path)
  else
    os.remove(path)
  end
end

after_each(function()
  remove(folder)
  package.path, package.cpath = path_before, cpath_before
  for i = 1, #package.searchers do
    package.searchers[i] = searchers_before[i]
  end
  for name in pairs(package.loaded) do
    if not loaded_before[name] then
      package.loaded[name] = nil
    end
  end
end)

describe("a bare handler", function()
  it("answers on every path, with the defaults", function()
    local result =
      load_app "return { handle_message = function() return 'called' end, codec = 'json' }"
    assert.same({ "127.0.0.1:8080" }, result.listen)
    assert.equal(1, result.workers)
    assert.is_nil(result.admin)
    assert.equal(folder, result.dir)
    assert.equal(folder .. "/app.lua", result.file)
    assert.same(limits({}),
      result.limits)
    assert.equal(1, #result.endpoints)
    local endpoint = result.endpoints[1]
    assert.equal("/*", endpoint.path)
    assert.equal("/*", endpoint.name)
    assert.equal("called", endpoint.hooks.handle_message())
    assert.is_nil(endpoint.hooks.on_start)
    assert.equal("json", endpoint.options.codec)
    assert.equal(30, endpoint.options.ping_period)
    assert.equal(endpoint.hooks.handle_message, endpoint.handler.handle_message)
    assert.equal(endpoint, (result.router:endpoint "/anything/at/all"))
    assert.is_true((endpoint.allow_origin("https://a.test", { host = "a.test" })))
    assert.is_false((endpoint.allow_origin("https://b.test", { host = "a.test" })))
  end)

  it("may be empty", function()
    assert.equal(1, #load_app("return {}").endpoints)
  end)

  it("may not set what belongs to an app", function()
    assert.equal('app.lua:2: `listen` belongs to an app; put the handler under endpoints = { '
      .. '["/*"] = … }',
      error_of "return { handle_message = print,\n  listen = ':1' }")
  end)

  it("reports mistakes with their lines", function()
    assert.same({
      'app.lua:2: unknown option "pong_perod"; did you mean "pong_period"?',
      "app.lua:3: handle_message: expected a function, got table",
      'app.lua:4: ping_period: expected a number of seconds, 0 or more, got string "30"',
    }, errors_of [[
return { -- pong_perod = 1
  pong_perod = 1,
  handle_message = {},
  ping_period = "30",
}]])
  end)
end)

describe("an app", function()
  it("has endpoints from tables and from modules", function()
    write("handlers/chat.lua", "return { codec = 'json', on_start = function() return 'chat' end }")
    write("handlers/game/init.lua", "return { name = 'a game' }")
    local result = load_app [[
return {
  listen = { ":1", "unix:/x" },
  admin = ":2",
  workers = "auto",
  limits = { connections = 5, header_bytes = "8K" },
  endpoints = {
    ["/chat"] = "handlers.chat",
    ["/game/:room"] = require "handlers.game",
    ["/echo"] = { on_close = function() return 'echo' end },
  },
  on_load = function() return 'load' end,
  on_reload = function() return 'reload' end,
  on_stop = function() return 'stop' end,
}]]
    assert.same({ ":1", "unix:/x" }, result.listen)
    assert.equal(":2", result.admin)
    assert.equal("auto", result.workers)
    assert.same(limits({ connections = 5, header_bytes = 8192 }),
      result.limits)
    assert.same({ "load", "reload", "stop" },
      { result.on_load(), result.on_reload(), result.on_stop() })
    local paths, names = {}, {}
    for i, endpoint in ipairs(result.endpoints) do
      paths[i], names[i] = endpoint.path, endpoint.name
    end
    assert.same({ "/chat", "/echo", "/game/:room" }, paths)
    assert.same({ "/chat", "/echo", "a game" }, names)
    assert.equal("chat", result.endpoints[1].hooks.on_start())
    assert.equal("echo", result.endpoints[2].hooks.on_close())
    local endpoint, params = result.router:endpoint "/game/7"
    assert.equal(result.endpoints[3], endpoint)
    assert.same({ room = "7" }, params)
    assert.is_nil((result.router:endpoint "/other"))
  end)

  it("gives its endpoints defaults, of options and hooks", function()
    local result = load_app [[
return {
  defaults = { codec = "json", ping_period = 1, origins = "https://a.test",
    on_error = function() return 1 end, on_start = function() return 1 end, max_connections = 9 },
  endpoints = {
    ["/a"] = {},
    ["/b"] = { codec = "text", origins = false, on_error = function() return 2 end,
      on_start = false, max_connections = false },
  },
}]]
    local a, b = result.endpoints[1], result.endpoints[2]
    assert.same({ "json", "text" }, { a.options.codec, b.options.codec })
    assert.same({ 1, 1 }, { a.options.ping_period, b.options.ping_period })
    assert.equal(9, a.options.max_connections)
    assert.is_nil(b.options.max_connections)
    assert.same({ 1, 2 }, { a.hooks.on_error(), b.hooks.on_error() })
    assert.is_function(a.hooks.on_start)
    assert.is_nil(b.hooks.on_start)
    assert.is_false((a.allow_origin "https://b.test"))
    assert.is_false((b.allow_origin("https://a.test", { host = "b.test" })))
    assert.is_true((b.allow_origin("https://b.test", { host = "b.test" })))
    assert.is_true((result.allow_origin("https://a.test", {}))) -- of routes: that of `defaults`
    assert.is_false((result.allow_origin("https://b.test", { host = "b.test" })))
  end)

  it("requires an Origin with require_origin", function()
    local endpoint = load_app("return { require_origin = true }").endpoints[1]
    assert.is_false((endpoint.allow_origin(nil)))
  end)

  it("has HTTP routes beside or instead of endpoints", function()
    write("public/index.html", "")
    local result = load_app [[
return { http = {
  ["/"] = { static = "public" },
  ["POST /announce"] = function() return 204 end,
} }]]
    assert.same({}, result.endpoints)
    assert.equal(2, #result.http)
    local route, params = result.router:route("GET", "/css/a.css")
    assert.equal(folder .. "/public", route.static)
    assert.equal("css/a.css", params["*"])
    assert.equal(204, result.router:route("POST", "/announce").handler())
  end)

  it("needs something to answer", function()
    for _, script in ipairs {
      "return { listen = ':1' }", "return { endpoints = {} }", "return { on_load = print }",
    } do
      assert.matches("^app.lua: an app needs `endpoints` or `http`", error_of(script))
    end
  end)

  it("reports all mistakes at once, each with file and line, in their order", function()
    write("handlers/chat.lua",
      "local handler = {}\n\nhandler.on_opne = print\nhandler.codec = 'jsn'\nreturn handler\n")
    write("handlers/game.lua", "return {\n  ping_perod = 3,\n}\n")
    assert.same({
      'app.lua:3: limits: unknown option "conections"; did you mean "connections"?',
      'app.lua:9: endpoint "/echo": ping_period: expected a number of seconds, 0 or more, got -1',
      'app.lua:10: endpoint "chat": a path must begin with "/"',
      'app.lua:12: unknown option "endpionts"; did you mean "endpoints"?',
      'app.lua:13: `handle_message` belongs to a handler under `endpoints`',
      'handlers/chat.lua:3: endpoint "/chat": unknown option "on_opne"; did you mean "on_start"?',
      'handlers/chat.lua:4: endpoint "/chat": codec: there is no codec "jsn"; did you mean "json"?',
      'handlers/game.lua:2: endpoint "/game": unknown option "ping_perod"; did you mean '
        .. '"ping_period"?',
    }, errors_of [[
local game = require "handlers.game"
return {
  limits = { conections = 5 },
  endpoints = {
    ["/chat"] = "handlers.chat",
    ["/game"] = game,
    ["/fine"] = { ping_period = 1 },
    ["/echo"] = {
      ping_period = -1 },
    ["chat"] = { ping_period = 1 },
  },
  endpionts = {},
  handle_message = print,
}]])
  end)

  it("may not have two endpoints on the same paths", function()
    assert.equal('app.lua:3: endpoint "/game/:room": matches the same paths as "/game/:id"',
      error_of "return { endpoints = {\n ['/game/:id'] = {},\n ['/game/:room'] = {},\n} }")
  end)

  it("reports endpoints that are no handlers", function()
    assert.equal('app.lua:1: endpoint "/a": expected a handler table or a module\'s name, '
      .. 'got function',
      error_of "return { endpoints = { ['/a'] = print } }")
    assert.matches("^app.lua:1: endpoints: %[1%] is no path",
      error_of "return { endpoints = { 'handlers.chat' } }")
    assert.equal("app.lua:1: endpoints: expected a table, got string \"x\"",
      error_of "return { endpoints = 'x' }")
    assert.equal('app.lua:1: endpoint "/a": `listen` belongs to the app, not to a handler',
      error_of "return { endpoints = { ['/a'] = { listen = ':1' } } }")
  end)

  it("reports modules that are missing or return no handler", function()
    write("handlers/empty.lua", "local handler = {}\n")
    write("handlers/seven.lua", "return 7\n")
    write("handlers/syntax.lua", "return {\n  a = = 1 }\n")
    write("handlers/throws.lua", "local x\nreturn x.y\n")
    local errors = errors_of [[
return { endpoints = {
  ["/a"] = "handlers.absent",
  ["/b"] = "handlers.empty",
  ["/c"] = "handlers.seven",
  ["/d"] = "handlers.syntax",
  ["/e"] = "handlers.throws",
} }]]
    assert.equal(5, #errors)
    assert.equal('app.lua:2: endpoint "/a": module "handlers.absent" not found: there is no '
      .. 'handlers/absent.lua, '
      .. "and it is not on package.path", errors[1])
    assert.equal('handlers/empty.lua: endpoint "/b": module "handlers.empty" must return a '
      .. 'handler table, '
      .. "and it returns nothing; add `return { … }` at its end", errors[2])
    assert.matches('^handlers/seven.lua: .*returns 7;', errors[3])
    assert.matches("^handlers/syntax.lua:2: endpoint \"/d\": unexpected symbol near '='", errors[4])
    assert.matches("^handlers/throws.lua:2: endpoint \"/e\": attempt to index a nil value",
      errors[5])
  end)

  it("reports invalid HTTP routes", function()
    write("public/file.txt", "x")
    local errors = errors_of [[
return { http = {
  ["GET /ok"] = print,
  ["PSOT /a"] = print,
  ["b"] = print,
  ["/c"] = "text",
  ["/d"] = { statik = "public" },
  ["/e"] = { static = "absent" },
  ["/f"] = { static = "public/file.txt" },
  ["POST /g"] = { static = "public" },
  ["/h"] = {},
  ["/i/*"] = { static = "public" },
  ["/ok/:a"] = print, ["/ok/:b"] = print,
  [7] = print,
} }]]
    table.sort(errors)
    assert.same({
      'app.lua:10: http "/h": expected a function or { static = "folder" }, got a table '
        .. 'without `static`',
      'app.lua:11: http "/i/*": a static folder serves everything below its path: write a plain '
        .. 'path, as in "/assets"',
      'app.lua:12: http "/ok/:b": answers the same requests as "/ok/:a"',
      'app.lua:1: http: [7] is no path: write ["/path"] = …',
      'app.lua:3: http "PSOT /a": there is no method "PSOT"; did you mean "POST"?',
      'app.lua:4: http "b": expected a path, or a method and a path, as in "POST /announce"',
      'app.lua:5: http "/c": expected a function or { static = "folder" }, got string "text"',
      'app.lua:6: http "/d": unknown option "statik"; did you mean "static"?',
      'app.lua:7: http "/e": there is no folder "absent"',
      'app.lua:8: http "/f": there is no folder "public/file.txt"',
      'app.lua:9: http "POST /g": a static folder answers GET and HEAD, not POST',
    }, errors)
  end)
end)

describe("a script", function()
  it("runs with its folder and its LuaRocks tree on the path, first", function()
    write("helper.lua", "return 'the app\\'s'")
    write("package_of_two/init.lua", "return 'a folder\\'s'")
    write("lua_modules/share/lua/5.4/rock.lua", "return 'a rock\\'s'")
    write("lua_modules/share/lua/5.4/rocks/init.lua", "return 'another rock\\'s'")
    local result = load_app [[
local names = { "helper", "package_of_two", "rock", "rocks" }
for i, name in ipairs(names) do names[i] = require(name) end
return { name = table.concat(names, ", "),
  handle_message = function() return package.path, package.cpath end }]]
    assert.equal("the app's, a folder's, a rock's, another rock's", result.endpoints[1].name)
    local path, cpath = result.endpoints[1].hooks.handle_message()
    assert.equal(path_before, path:sub(-#path_before))
    assert.equal(folder .. "/lua_modules/lib/lua/5.4/?.so;" .. cpath_before, cpath)
  end)

  it("does not leave its folder on the next one's path", function()
    local script = "return { handle_message = function() return package.path, package.cpath end }"
    assert(app.load { file = write("one/app.lua", script) })
    local path, cpath =
      assert(app.load { file = write("two/app.lua", script) }).endpoints[1].hooks.handle_message()
    assert.is_nil(path:find(folder .. "/one", 1, true))
    assert.is_nil(cpath:find(folder .. "/one", 1, true))
    assert.equal(1, path:find(folder .. "/two/?.lua", 1, true))
  end)

  it("may wait at its top level", function()
    local file = write("app.lua", [[
local a = coroutine.yield("first")
local ok, b = pcall(function() return coroutine.yield("second") end)
return { name = a .. b, on_start = ok and print }]])
    local thread = coroutine.create(app.load)
    assert.same({ true, "first" }, { coroutine.resume(thread, { file = file }) })
    assert.same({ true, "second" }, { coroutine.resume(thread, "a") })
    local ok, result = coroutine.resume(thread, "b")
    assert.is_true(ok)
    assert.equal("dead", coroutine.status(thread))
    assert.equal("ab", result.endpoints[1].name)
  end)

  it("may begin with #!", function()
    assert.equal("x", load_app("#!/usr/bin/env tidewire\nreturn { name = 'x' }").endpoints[1].name)
  end)

  it("must be there and be a file", function()
    local function message(file)
      local result, errors = app.load { file = file }
      assert.is_nil(result)
      return texts(errors)[1]
    end
    assert.equal("absent.lua: cannot read the file: No such file or directory",
      message(folder .. "/absent.lua"))
    assert.matches("this is a folder; give the Lua file in it", message(folder))
    write("app.lua", "")
    assert.matches("this is a folder: did you mean app.lua%?", message(folder))
  end)

  it("must be source code", function()
    assert.equal("app.lua: this is a precompiled chunk; give the Lua source",
      error_of(string.dump(function() return {} end)))
    write("compiled.lua", string.dump(function() return {} end))
    assert.matches("^compiled.lua: this is a precompiled chunk; give the Lua source\n",
      error_of "require 'compiled'")
    assert.matches('^compiled.lua: endpoint "/a": this is a precompiled chunk',
      error_of "return { endpoints = { ['/a'] = 'compiled' } }")
  end)

  it("must return a table", function()
    for script, got in pairs {
      [""] = "it returns nothing",
      ["local handler = {}"] = "it returns nothing",
      ["return nil"] = "it returns nothing",
      ["return 7"] = "it returns 7",
      ["return function() end"] = "it returns function",
    } do
      assert.equal(("app.lua: the script must return a handler or an app table, and %s; add "
        .. "`return { … }` at its end"):format(got), error_of(script))
    end
  end)

  it("with a syntax error gets a problem with the line", function()
    assert.equal("app.lua:2: unexpected symbol near '='", error_of "return {\n  a = = 1\n}")
  end)

  it("that throws gets a problem with its own traceback", function()
    write("deep.lua", "local M = {}\nfunction M.fail()\n  error('boom')\nend\nreturn M\n")
    local message = error_of "local deep = require 'deep'\n\ndeep.fail()\nreturn {}"
    assert.equal("deep.lua:3: boom\nstack traceback:\n\t"
      .. "deep.lua:3: in field 'fail'\n\tapp.lua:3: in main chunk",
      (message:gsub(folder:gsub("%p", "%%%0") .. "/", "")))
  end)

  it("that throws a value without a place gets a problem with the line", function()
    assert.matches("^app.lua:2: no place\n", error_of "local x\nerror('no place', 0)")
    assert.matches("^app.lua:1: table: {}\n", error_of "error({})")
    assert.matches("^app.lua:1: nil\n", error_of "error(nil)")
    assert.matches("^app.lua:1: as text\n",
      error_of "error(setmetatable({}, { __tostring = function() return 'as text' end }))")
  end)

  it("that requires a missing module gets a problem of one line with its name", function()
    assert.matches("^app.lua:2: module 'nowhere.to.be' not found: neither in the app's folder",
      error_of "local x\nrequire 'nowhere.to.be'")
  end)

  it("whose module requires a missing module gets the name of both", function()
    write("needy.lua", "local x\nlocal y = require 'nowhere'\nreturn y")
    local script = "local n = require 'needy'\nreturn n"
    assert.matches("^needy.lua:2: module 'nowhere' not found: neither in", error_of(script))
  end)

  it("whose module is broken gets the module's line", function()
    write("broken.lua", "local = 1")
    assert.matches("^broken.lua:1: <name> expected near '='\n", error_of "require 'broken'")
  end)

  it("may have modules that wait", function()
    write("slow.lua", "return { name = coroutine.yield('waits') }")
    local file =
      write("app.lua", "local slow = require 'slow'\nreturn { endpoints = { ['/a'] = 'slow' } }")
    local thread = coroutine.create(app.load)
    assert.same({ true, "waits" }, { coroutine.resume(thread, { file = file }) })
    local _, result = coroutine.resume(thread, "waited")
    assert.equal("waited", result.endpoints[1].name)
  end)

  it("whose modules require each other in a loop gets a problem", function()
    write("one.lua", "local two = require 'two'\nreturn two")
    write("two.lua", "local one = require 'one'\nreturn one")
    assert.matches("^two.lua:1: module 'one' is being loaded already: it is required in a loop",
      error_of "require 'one'")
  end)

  it("may try again to load a module that has failed", function()
    write("picky.lua", "assert(ready, 'not yet')\nreturn 'fine'")
    assert.equal("not yet, fine", load_app([[
      local _, problem = pcall(require, "picky")
      ready = true
      return { name = problem:match("not yet") .. ", " .. require("picky") }]]).endpoints[1].name)
  end)

  it("has globals and modules of its own: nothing of the one before", function()
    write("counter.lua", "count = (count or 0) + 1\nreturn { count = count }")
    local script = "seen = (seen or 0) + require('counter').count\nreturn { name = tostring(seen) }"
    assert.equal("1", load_app(script).endpoints[1].name)
    assert.equal("1", load_app(script).endpoints[1].name)
    assert.is_nil(rawget(_G, "seen"))
    assert.is_nil(rawget(_G, "count"))
    assert.is_nil(package.loaded.counter)
  end)

  it("shares libraries with the one before", function()
    write("lua_modules/share/lua/5.4/rock_of_the_spec.lua", "return { count = 0 }")
    local script = [[local rock = require "rock_of_the_spec"
      rock.count = rock.count + 1
      return { name = rock.count .. " " .. tostring(package.loaded.rock_of_the_spec == rock) }]]
    assert.equal("1 true", load_app(script).endpoints[1].name)
    assert.equal("2 true", load_app(script).endpoints[1].name)
  end)

  it("has its own globals in chunks that it loads", function()
    write("part.lua", "in_part = mine")
    assert.equal("5 5 5 5 nil 7", load_app(([[
      mine = 5
      dofile(%q)
      assert(_G.in_part == 5 and _ENV == _G)
      local name = table.concat({ in_part, load("return mine")(), load("return _G.mine")(),
        loadfile(%q)() or in_part, tostring(load("return mine", "x", "t", {})()),
        load("return mine", "x", "t", { mine = 7 })() }, " ")
      return { name = name }]]):format(folder .. "/part.lua", folder .. "/part.lua"))
      .endpoints[1].name)
  end)

  it("may preload modules, add searchers, and forget loaded modules", function()
    write("again.lua", "times = (times or 0) + 1\nreturn times")
    assert.equal("made found 1 2", load_app([[
      package.preload.made = function(name) return name end
      table.insert(package.searchers, function(name)
        return name == "found" and function() return name end or "\n\tnot by this one"
      end)
      local first = require "again"
      package.loaded.again = nil
      return {
        name = table.concat({ require "made", require "found", first, (require "again") }, " "),
      }]])
      .endpoints[1].name)
  end)

  it("may be in a deep folder: names too long for Lua's messages are whole in ours", function()
    local name = ("a_long_folder_name/"):rep(5) .. "app.lua"
    local file = write(name, "return {\n a = = 1 }")
    local _, errors = app.load { file = file }
    assert.equal(name .. ":2: unexpected symbol near '='", texts(errors)[1])
    write(name, "\nlocal x = nil + 1")
    _, errors = app.load { file = file }
    assert.equal(file, errors[1].file)
    assert.equal(2, errors[1].line)
  end)
end)

describe("settings", function()
  local script = [[
return {
  listen = "app:1", admin = "app:2",
  limits = { connections = 1, per_address = 2 },
  defaults = { ping_period = 1 },
  endpoints = {
    ["/a"] = { ping_period = 2, pong_period = 20, origins = "https://app.test" }, ["/b"] = {},
  },
}]]

  it("are stronger in the environment than in the app", function()
    local result = load_app(script, { environ = {
      TIDEWIRE_LISTEN = "env:1,env:2", TIDEWIRE_ADMIN = "env:3", TIDEWIRE_MAX_CONNECTIONS = "7",
      TIDEWIRE_PING_PERIOD = "3", TIDEWIRE_ORIGINS = "https://env.test",
      TIDEWIRE_REQUIRE_ORIGIN = "1", HOME = "/",
    } })
    assert.same({ "env:1", "env:2" }, result.listen)
    assert.equal("env:3", result.admin)
    assert.same(limits({ connections = 7, per_address = 2 }),
      result.limits)
    local a, b = result.endpoints[1], result.endpoints[2]
    assert.same({ 3, 3 }, { a.options.ping_period, b.options.ping_period })
    assert.same({ 20, 300 }, { a.options.pong_period, b.options.pong_period })
    assert.is_true((a.allow_origin "https://env.test"))
    assert.is_false((a.allow_origin "https://app.test"))
    assert.is_false((b.allow_origin(nil)))
  end)

  it("are strongest on the command line", function()
    local result = load_app(script, {
      environ = { TIDEWIRE_LISTEN = "env:1", TIDEWIRE_ADMIN = "env:3", TIDEWIRE_WORKERS = "auto" },
      command_line = { listen = { "line:1", "line:2" }, admin = "line:3", workers = "3" },
    })
    assert.same({ "line:1", "line:2" }, result.listen)
    assert.equal("line:3", result.admin)
    assert.equal(3, result.workers)
  end)

  it("come from the app where the command line is empty", function()
    assert.same({ "app:1" }, load_app(script, { command_line = { listen = {} } }).listen)
  end)

  it("let a script decide by its own variables", function()
    local by_variable =
      "local p = os.getenv('TW_SPEC_NOT_SET')\nreturn { ping_period = p and 30 or 10 }"
    assert.equal(10, load_app(by_variable).endpoints[1].options.ping_period)
  end)

  it("are reported with their source", function()
    assert.same({
      'TIDEWIRE_PING_PERIOD: expected a number of seconds, 0 or more, got "ten"',
      '--workers: expected a whole number from 1 to 128, or "auto", got "0"',
    }, errors_of("return {}",
      { environ = { TIDEWIRE_PING_PERIOD = "ten" }, command_line = { workers = "0" } }))
    assert.equal('--workers: expected a whole number from 1 to 128, or "auto", got "x"',
      error_of("return {}", { command_line = { workers = "x" } }))
  end)

  it("have their addresses judged by the program", function()
    local function check_address(text)
      if text:find("good", 1, true) then
        return true
      end
      return nil, "no address: " .. text
    end
    local request = { check_address = check_address }
    assert.equal("app.lua:1: listen: no address: bad",
      error_of("return { listen = { 'good', 'bad' }, endpoints = { ['/'] = {} } }", request))
    assert.equal("--listen: no address: bad",
      error_of("return {}",
        { check_address = check_address, command_line = { listen = { "bad" } } }))
    assert.equal("TIDEWIRE_ADMIN: no address: bad",
      error_of("return {}",
        { check_address = check_address, environ = { TIDEWIRE_ADMIN = "bad" } }))
  end)
end)

describe("warnings", function()
  it("leave the app as it is", function()
    assert.same({
      "unknown environment variable TIDEWIRE_PING_PEROD; did you mean TIDEWIRE_PING_PERIOD?",
      "app.lua: pong_period (10) is not longer than ping_period (30): "
        .. "a quiet client is closed before it can answer a ping",
    }, warnings_of("return {\n  pong_period = 10,\n}",
      { environ = { TIDEWIRE_PING_PEROD = "1" } }))
  end)

  it("are there beside errors", function()
    local file = write("app.lua", "return { ping_period = -1 }")
    local result, errors, warnings =
      app.load { file = file, environ = { TIDEWIRE_PING_PEROD = "1" } }
    assert.is_nil(result)
    assert.same({ "app.lua:1: ping_period: expected a number of seconds, 0 or more, got -1" },
      texts(errors))
    assert.matches("^unknown environment variable TIDEWIRE_PING_PEROD", texts(warnings)[1])
  end)
end)
