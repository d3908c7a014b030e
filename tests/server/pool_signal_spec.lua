-- pool_signal_spec.lua -- tw.pool: a C function that waits in a system call when the time of its
-- call is over. The thread gets no signals then, which would end the system call early.
--
-- The C function is compiled by the test: those of Lua and of LuaSocket wait again after EINTR.

local loop = require "support.loop"
local pooled = require "support.pooled"
local process = require "support.process"
local server = require "support.server"

--- waits(path, result): polls a FIFO without a timeout, and writes "data" or the error's text into
--- another file. What the function returned would be lost: its caller is ended.
local C = [[
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct lua_State lua_State;
const char *luaL_checklstring(lua_State *L, int index, size_t *len);
void lua_pushcclosure(lua_State *L, int (*function)(lua_State *), int upvalues);

static int waits(lua_State *L) {
    struct pollfd end = {.fd = open(luaL_checklstring(L, 1, NULL), O_RDWR), .events = POLLIN};
    int count = poll(&end, 1, -1);
    FILE *file = fopen(luaL_checklstring(L, 2, NULL), "w");
    fputs(count == 1 ? "data" : strerror(errno), file);
    fclose(file);
    close(end.fd);
    return 0;
}

int luaopen_waiting(lua_State *L) {
    lua_pushcclosure(L, waits, 0);
    return 1;
}
]]

local MODULE = [[
local record = require "record"
local waits = require "waiting"
return {
  waits = function(path)
    record("waits")
    waits(path, "result")
    while true do end
  end,
  echo = function(...) return ... end,
}
]]

describe("a C function in a thread of tw.pool that waits in a system call", function()
  if not process.find("gcc") then
    it("is not interrupted", function() pending("gcc is not installed") end)
    return
  end

  it("is not interrupted when its call is over, and the Lua code behind it is ended", function()
    local app <close> = server.start(pooled.options(MODULE, "{ threads = 1, budget = 600 }", {
      prepare = function(folder)
        process.write_file(folder .. "/waiting.c", C)
        assert(os.execute(("cd '%s' && gcc -shared -fPIC -o waiting.so waiting.c && mkfifo gate")
          :format(folder)))
      end,
    }))
    local ada, bob = app:connect("/run"), app:connect("/run")
    ada:send_text [[pool:with{ timeout = 0.2 }:call("waits", "gate")]]
    assert.truthy(loop.wait_until(function() return #app:events("waits") == 1 end))
    assert.truthy(ada:receive(60):find('^nil | "timeout"'))
    pooled.ask(bob, "tw.sleep(1) or 0") -- time for many signals
    local gate <close> = assert(io.open(app.directory .. "/gate", "r+"))
    gate:write("data")
    gate:flush()
    assert.equal("7", pooled.ask(bob, [[pool:with{ timeout = 60 }:call("echo", 7)]]))
    assert.equal("data", process.read_file(app.directory .. "/result"))
    ada:close()
    bob:close()
  end)
end)
