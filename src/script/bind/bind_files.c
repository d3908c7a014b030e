/* bind_files.c -- tidewire.core: whole files, read and written on libuv's thread pool.
 *
 * files.lua makes tw.read_file and tw.write_file of these functions. A job is an object of Lua's,
 * which the registry keeps while a thread works on it; then its task is woken and asks for the
 * result. The worker allocates the memory of large files between two steps of reading, from the
 * memory of the scripts, so that limits.memory counts it before it is taken. */
#include "script/bind/bind.h"

#include "base/mem.h"
#include "script/files/whole_file.h"

#include <errno.h>
#include <string.h>

#define JOB "tidewire.file_job" /* the name of its metatable */

struct file_job {
    uv_work_t work;
    struct vm *vm;
    uint64_t task; /* woken when a step has ended */
    int self;      /* the registry's reference, while a thread works; else LUA_NOREF */
    bool is_writing, has_ended;
    bool is_dropped; /* no task asks for its result */
    struct file_reading reading;
    struct file_writing writing;
};

enum { PATH_VALUE = 1, DATA_VALUE = 2, VALUES = 2 }; /* of the userdata */

static struct file_job *check_job(lua_State *L) {
    return luaL_checkudata(L, 1, JOB);
}

/* ---- memory ---- */

/* Changes the memory of a large file, which is the scripts'. NULL: there is not as much. */
static char *resize(lua_State *L, char *bytes, size_t old_size, size_t size) {
    void *user;
    lua_Alloc alloc = lua_getallocf(L, &user);
    return alloc(user, bytes, bytes == NULL ? 0 : old_size, size);
}

static void release(lua_State *L, struct file_job *job) {
    struct file_reading *reading = &job->reading;
    whole_file_stop(reading);
    if (reading->bytes != reading->small)
        resize(L, reading->bytes, reading->capacity, 0);
    mem_free(reading->small);
    reading->bytes = reading->small = NULL;
    reading->len = reading->capacity = 0;
}

/* Gives a reading the memory that it wants. The string that the script gets is a copy. */
static bool grow(lua_State *L, struct file_job *job) {
    struct file_reading *reading = &job->reading;
    bool is_small = reading->bytes == reading->small;
    if (!vm_memory_has_room(job->vm, reading->wanted * 2))
        return false;
    char *bytes = resize(L, is_small ? NULL : reading->bytes, reading->capacity, reading->wanted);
    if (bytes == NULL)
        return false;
    if (is_small && reading->len > 0)
        memcpy(bytes, reading->small, reading->len);
    reading->bytes = bytes;
    reading->capacity = reading->wanted;
    return true;
}

/* ---- steps ---- */

static void on_work(uv_work_t *work) {
    struct file_job *job = work->data;
    if (job->is_writing)
        whole_file_write(&job->writing);
    else
        whole_file_read(&job->reading);
}

static void on_step_over(uv_work_t *work, int status) {
    struct file_job *job = work->data;
    if (status == 0)
        job->has_ended =
            job->is_writing || job->reading.is_complete || job->reading.failure.error != 0;
    luaL_unref(job->vm->L, LUA_REGISTRYINDEX, job->self);
    job->self = LUA_NOREF;
    if (job->is_dropped)
        release(job->vm->L, job);
    else
        vm_wake(job->vm, job->task);
}

/* Lets a thread do the next step of the job at the index. */
static void begin_step(lua_State *L, int index) {
    struct file_job *job = lua_touserdata(L, index);
    lua_pushvalue(L, index);
    job->self = luaL_ref(L, LUA_REGISTRYINDEX);
    uv_queue_work(job->vm->loop, &job->work, on_work, on_step_over);
}

/* ---- jobs ---- */

/* Pushes a job of the task for the path, which are the first and the second argument. */
static struct file_job *push_job(lua_State *L) {
    uint64_t task = (uint64_t)luaL_checkinteger(L, 1);
    luaL_checkstring(L, 2);
    struct file_job *job = lua_newuserdatauv(L, sizeof *job, VALUES);
    *job = (struct file_job){.vm = vm_of(L), .task = task, .self = LUA_NOREF, .reading.fd = -1};
    job->work.data = job;
    luaL_setmetatable(L, JOB);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, PATH_VALUE);
    return job;
}

/* core.file_read(task, path, max_bytes) -> job. Wakes the task when core.file_result has something
 * to do. */
static int core_file_read(lua_State *L) {
    lua_Integer max_bytes = luaL_checkinteger(L, 3);
    luaL_argcheck(L, max_bytes >= 0 && max_bytes <= INT64_C(1) << 40, 3, "0 to 2^40 expected");
    struct file_job *job = push_job(L);
    job->reading.path = lua_tostring(L, 2);
    job->reading.max_bytes = (size_t)max_bytes;
    begin_step(L, lua_gettop(L));
    return 1;
}

/* core.file_write(task, path, data, mode|nil, append, in_place, fsync) -> job. The same. */
static int core_file_write(lua_State *L) {
    struct slice data = bind_check_text(L, 3);
    lua_Integer mode = luaL_optinteger(L, 4, -1);
    luaL_argcheck(L, mode >= -1 && mode <= 07777, 4, "permissions expected");
    struct file_job *job = push_job(L);
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, -2, DATA_VALUE);
    job->is_writing = true;
    job->writing = (struct file_writing){
        .path = lua_tostring(L, 2),
        .bytes = data.bytes,
        .len = data.len,
        .mode = (int)mode,
        .append = lua_toboolean(L, 5),
        .in_place = lua_toboolean(L, 6),
        .fsync = lua_toboolean(L, 7),
    };
    begin_step(L, lua_gettop(L));
    return 1;
}

/* Pushes nil, "path: why" and errno, as io.open does. */
static int push_file_failure(lua_State *L, const struct file_failure *failure) {
    luaL_pushfail(L);
    lua_getiuservalue(L, 1, PATH_VALUE);
    lua_pushfstring(L, "%s: %s", lua_tostring(L, -1),
                    failure->why != NULL ? failure->why : strerror(failure->error));
    lua_replace(L, -2);
    lua_pushinteger(L, failure->error);
    return 3;
}

/* core.file_result(job) -> data, or true if it writes | nil, message, errno | nothing: a thread
 * works on it, and the task will be woken */
static int core_file_result(lua_State *L) {
    struct file_job *job = check_job(L);
    if (job->self != LUA_NOREF)
        return 0;
    if (!job->has_ended && grow(L, job)) {
        begin_step(L, 1);
        return 0;
    }
    if (!job->has_ended)
        return push_file_failure(
            L, &(struct file_failure){ENOMEM, "limits.memory leaves no room for it"});
    const struct file_failure *failure =
        job->is_writing ? &job->writing.failure : &job->reading.failure;
    if (failure->error != 0)
        return push_file_failure(L, failure);
    if (job->is_writing)
        lua_pushboolean(L, 1);
    else
        lua_pushlstring(L, job->reading.bytes, job->reading.len);
    release(L, job);
    return 1;
}

/* core.file_end(job): its result is not needed any more. What has begun to be written is written.
 */
static int core_file_end(lua_State *L) {
    struct file_job *job = check_job(L);
    job->is_dropped = true;
    if (job->self == LUA_NOREF)
        release(L, job);
    else if (!job->is_writing)
        uv_cancel((uv_req_t *)&job->work);
    return 0;
}

const luaL_Reg bind_files_functions[] = {
    {"file_read", core_file_read},
    {"file_write", core_file_write},
    {"file_result", core_file_result},
    {"file_end", core_file_end},
    {NULL, NULL},
};

void bind_files_open(lua_State *L) {
    luaL_newmetatable(L, JOB);
    lua_pushcfunction(L, core_file_end);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
