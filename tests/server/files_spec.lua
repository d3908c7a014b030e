-- files_spec.lua -- tw.read_file and tw.write_file against a real file system: content, errors,
-- what a reader sees meanwhile, and that only the calling hook waits. tests/lua/files_spec.lua
-- tests invalid arguments.

local cjson = require "cjson"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

-- "/" calls a function of tw with the arguments of a message; "/echo" is there to see that others
-- go on.
local APP = [[
local tw = require "tidewire"
local at_load = { tw.read_file("plain.txt") }
local PATTERN = "0123456789abcdef"

local orders = {}

function orders.read(order)
  local ok, data, problem, code = pcall(tw.read_file, order.path, order.options)
  if not ok or not data then
    return { thrown = not ok, problem = ok and problem or data, code = code }
  end
  return {
    size = #data, start = tw.json.encode(data:sub(1, 100)),
    is_pattern = data == PATTERN:rep(#data // 16),
  }
end

function orders.write(order)
  local data = order.data or PATTERN:rep(order.count)
  local ok, written, problem, code = pcall(tw.write_file, order.path, data, order.options)
  return {
    ok = ok and written, thrown = not ok, problem = ok and problem or written, code = code,
  }
end

-- many tasks write and read few files
function orders.many(order)
  local done, bad = 0, 0
  for i = 1, order.count do
    tw.spawn(function()
      local name, data = "many" .. i % 8, ("%d\n"):format(i):rep(1000)
      local ok = tw.write_file(name, data) and tw.read_file(name)
      if not ok or ok ~= ok:match("^%d+\n"):rep(1000) then bad = bad + 1 end
      done = done + 1
    end)
  end
  while done < order.count do tw.sleep(0.005) end
  return { bad = bad }
end

function orders.coroutine()
  return { data = coroutine.wrap(function() return tw.read_file("plain.txt") end)() }
end

-- the script closes a coroutine that waits for a file
function orders.closed()
  local co = coroutine.create(function() return tw.read_file("plain.txt") end)
  local was_resumed = false
  tw.spawn(function()
    coroutine.resume(co)
    was_resumed = true
  end)
  tw.sleep(0)
  pcall(coroutine.close, co)
  while not was_resumed do tw.sleep(0) end
  return { data = tw.read_file("plain.txt") }
end

return {
  endpoints = {
    ["/"] = {
      codec = "json",
      handle_message = function(conn, order) conn:send(orders[order.what](order)) end,
    },
    ["/echo"] = { handle_message = function(conn, message) conn:send(message) end },
    ["/validate"] = {
      validate = function()
        require "record"("validate", tw.now() > 0, tw.time() > 1.7e9,
          pcall(tw.read_file, "plain.txt"))
        return false
      end,
    },
  },
  http = { ["/load"] = function() return table.concat(at_load, " ") end },
  on_stop = function()
    tw.write_file("stopped", "written at the end")
    require "record"("stopped", tw.read_file("stopped"))
  end,
}
]]

local app, ada

local function ask(order, client)
  return cjson.decode(((client or ada):ask(cjson.encode(order), 60)))
end
local function read(name, options, client)
  return ask({ what = "read", path = name, options = options }, client)
end
local function path(name) return app.directory .. "/" .. name end
local function content(name) return process.read_file(path(name)) end
local function put(name, text) process.write_file(path(name), text) end
local function shell(command)
  assert(os.execute(("cd '%s' && %s"):format(app.directory, command)))
end
local function mode_of(name) return uv.fs_stat(path(name)).mode & 4095 end

--- The names of temporary files that were left.
local function leftovers(folder)
  local names, request = {}, assert(uv.fs_scandir(folder or app.directory))
  for name in uv.fs_scandir_next, request do
    if name:find("^%.tidewire") then names[#names + 1] = name end
  end
  return names
end

describe("tw.read_file", function()
  lazy_setup(function()
    app = server.start({ app = APP, files = { ["plain.txt"] = "some text\0 and a zero" } })
  end)
  lazy_teardown(function() app:stop() end)
  before_each(function() ada = app:connect() end)
  after_each(stream.close_all)

  it("reads files of any size", function()
    for _, size in ipairs { 0, 1, 65534, 65535, 65536, 65537, 1000000 } do
      local name = "size" .. size
      put(name, ("0123456789abcdef"):rep(size // 16 + 1):sub(1, size))
      assert.equal(size, read(name).size)
    end
    put("large", ("0123456789abcdef"):rep(1 << 18))
    local answer = read("large")
    assert.equal(4 << 20, answer.size)
    assert.is_true(answer.is_pattern)
    assert.equal('"some text\\u0000 and a zero"', read("plain.txt").start)
  end)

  it("works while the app is loaded, and in coroutines of the script's own", function()
    assert.equal("some text\0 and a zero", app:http("/load").body)
    assert.equal("some text\0 and a zero", ask({ what = "coroutine" }).data)
    assert.equal("some text\0 and a zero", ask({ what = "closed" }).data)
  end)

  it("reads files of /proc, whose size is 0", function()
    assert.is_true(read("/proc/self/status").size > 100)
    assert.is_true(read("/proc/kallsyms").size > 100000)
  end)

  it("returns errors in the system's words, with the path", function()
    local answer = read("nowhere")
    assert.same({ "nowhere: No such file or directory", 2, false },
      { answer.problem, answer.code, answer.thrown })
    assert.equal(".: Is a directory", read(".").problem)
    assert.equal("plain.txt/x: Not a directory", read("plain.txt/x").problem)
  end)

  it("refuses what is no regular file, without waiting for it", function()
    shell("mkfifo fifo")
    assert.equal("fifo: it is no regular file", read("fifo").problem)
    assert.equal("/dev/zero: it is no regular file", read("/dev/zero").problem)
    assert.equal("fifo: it is no regular file",
      ask({ what = "write", path = "fifo", data = "x", options = { append = true } }).problem)
    assert.equal("fifo: it is no regular file",
      ask({ what = "write", path = "fifo", data = "x", options = { atomic = false } }).problem)
    assert.equal("/dev/null: it is no regular file",
      ask({ what = "write", path = "/dev/null", data = "x" }).problem)
  end)

  it("has a limit, of 16 MiB by default", function()
    put("eleven", "01234567890")
    assert.equal(11, read("eleven", { max_size = 11 }).size)
    assert.equal("eleven: it is larger than max_size",
      read("eleven", { max_size = 10 }).problem)
    assert.equal("/proc/kallsyms: it is larger than max_size",
      read("/proc/kallsyms", { max_size = "100K" }).problem)
    shell("truncate -s 16777217 sparse")
    assert.equal("sparse: it is larger than max_size", read("sparse").problem)
  end)

  it("takes no memory beyond limits.memory", function()
    local small <close> = server.start({
      app = APP, files = { ["plain.txt"] = "" }, environment = { TIDEWIRE_LIMITS_MEMORY = "16M" },
      prepare = function(folder) os.execute(("truncate -s 12M '%s/sparse'"):format(folder)) end,
    })
    local bob = small:connect()
    for _ = 1, 20 do
      assert.equal("sparse: limits.memory leaves no room for it", read("sparse", nil, bob).problem)
    end
    assert.equal(0, read("plain.txt", nil, bob).size)
  end)

  it("throws in validate, where nothing can wait; tw.now and tw.time do not", function()
    pcall(function() app:connect("/validate") end)
    local event = app:wait_event("validate")
    assert.is_true(event[2])
    assert.is_true(event[3])
    assert.is_false(event[4])
    assert.matches("^app%.lua:%d+: tw.read_file: validate must answer at once", event[5])
  end)
end)

describe("tw.write_file", function()
  lazy_setup(function()
    app = server.start({ app = APP, files = { ["plain.txt"] = "some text\0 and a zero" } })
  end)
  lazy_teardown(function() app:stop() end)
  before_each(function() ada = app:connect() end)
  after_each(stream.close_all)
  after_each(function() assert.same({}, leftovers()) end)

  local function write(name, data, options)
    return ask({ what = "write", path = name, data = data, options = options })
  end

  it("writes new files, with the permissions that io.open gives them", function()
    assert.is_true(write("new", "a\0b").ok)
    assert.equal("a\0b", content("new"))
    shell("touch touched")
    assert.equal(mode_of("touched"), mode_of("new"))
    assert.is_true(write("empty", "").ok)
    assert.equal("", content("empty"))
    assert.is_true(ask({ what = "write", path = "large", count = 1 << 18 }).ok)
    assert.equal(("0123456789abcdef"):rep(1 << 18), content("large"))
  end)

  it("replaces a file at once: its permissions stay, an open file keeps the old content", function()
    put("kept", "old")
    shell("chmod 0640 kept")
    local reader <close> = io.open(path("kept"))
    local inode = uv.fs_stat(path("kept")).ino
    assert.is_true(write("kept", "new content").ok)
    assert.equal("old", reader:read("a"))
    assert.equal("new content", content("kept"))
    assert.equal(tonumber("0640", 8), mode_of("kept"))
    assert.not_equal(inode, uv.fs_stat(path("kept")).ino)
  end)

  it("keeps symbolic links, also to files that do not exist yet", function()
    shell("mkdir -p sub && echo old > sub/target")
    shell("ln -sf sub/target link && ln -sf sub/none to_none")
    assert.is_true(write("link", "through the link").ok)
    assert.equal("through the link", content("sub/target"))
    assert.equal("link", uv.fs_lstat(path("link")).type)
    assert.is_true(write("to_none", "made").ok)
    assert.equal("made", content("sub/none"))
    assert.equal("link", uv.fs_lstat(path("to_none")).type)
  end)

  it("appends, and writes in place", function()
    assert.is_true(write("log", "one\n", { append = true }).ok)
    local inode = uv.fs_stat(path("log")).ino
    assert.is_true(write("log", "two\n", { append = true, fsync = true }).ok)
    assert.equal("one\ntwo\n", content("log"))
    assert.is_true(write("log", "3\n", { atomic = false }).ok)
    assert.equal("3\n", content("log"))
    assert.equal(inode, uv.fs_stat(path("log")).ino)
  end)

  it("sets permissions, and waits for the disk", function()
    assert.is_true(write("secret", "x", { mode = "0600", fsync = true }).ok)
    assert.equal(tonumber("600", 8), mode_of("secret"))
    assert.is_true(write("secret", "x", { mode = "4755" }).ok)
    assert.equal(tonumber("4755", 8), mode_of("secret"))
    assert.is_true(write("open", "x", { mode = "0666", append = true }).ok)
    assert.equal(tonumber("666", 8), mode_of("open"))
  end)

  it("returns errors in the system's words, and leaves nothing behind", function()
    assert.equal("none/file: No such file or directory", write("none/file", "x").problem)
    assert.equal("none/: No such file or directory", write("none/", "x").problem)
    assert.equal(".: Is a directory", write(".", "x").problem)
    assert.equal(": No such file or directory", write("", "x").problem)
    local long = ("n"):rep(300)
    assert.equal(long .. ": File name too long", write(long, "x").problem)
    shell("ln -sf loop loop")
    assert.equal("loop: Too many levels of symbolic links", write("loop", "x").problem)
    put("before", "old")
    -- a file may grow to 32 KiB, which is as a disk that is full then
    local limited <close> = server.start({
      app = APP, files = { ["plain.txt"] = "", ["before"] = "old" },
      shell = "trap '' XFSZ; ulimit -f 64;",
    })
    local answer = ask({ what = "write", path = "before", count = 8192 }, limited:connect())
    assert.equal("before: File too large", answer.problem)
    assert.equal("old", process.read_file(limited.directory .. "/before"))
    assert.same({}, leftovers(limited.directory))
  end)

  it("does not let many writers disturb one another, nor others wait", function()
    local bob = app:connect("/echo")
    ada:send_text(cjson.encode({ what = "many", count = 200 }))
    for _ = 1, 100 do assert.equal("hello", (bob:ask("hello"))) end
    assert.equal(0, cjson.decode((ada:receive(60))).bad)
  end)

  it("writes in on_stop", function()
    local ending = server.start({ app = APP, files = { ["plain.txt"] = "" } })
    ending:signal("sigterm")
    local event = ending:wait_event("stopped")
    assert.equal("written at the end", event[2])
    ending:stop()
  end)
end)

describe("after a reload", function()
  after_each(stream.close_all)
  it("reads and writes go on", function()
    local old <close> = server.start({ app = APP, files = { ["plain.txt"] = "x" } })
    local bob = old:connect()
    bob:send_text(cjson.encode({ what = "many", count = 100 }))
    old:signal("sighup")
    assert.equal(0, cjson.decode((bob:receive(60))).bad)
  end)
end)
