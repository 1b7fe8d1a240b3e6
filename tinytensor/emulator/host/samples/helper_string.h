// Command line flags as -name or --name=value. Written for the emulator.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <string>

#ifndef STRCASECMP
#define STRCASECMP strcasecmp
#define STRNCASECMP strncasecmp
#define STRCPY(to, size, from) strcpy(to, from)
#define FOPEN(file, name, mode) (file = fopen(name, mode))
#define FOPEN_FAIL(result) (result == NULL)
#define SSCANF sscanf
#define SPRINTF sprintf
#endif
#ifndef MIN
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#endif
#ifndef MAX
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#endif
#ifndef EXIT_WAIVED
#define EXIT_WAIVED 2
#endif

// The value of a flag, "" without one; null if the flag is not there.
static inline const char* tt_flag(int argc, const char** argv, const char* name) {
    std::string wanted = name;
    while (!wanted.empty() && wanted.back() == '=') wanted.pop_back();
    for (int i = 1; i < argc; i++) {
        const char* given = argv[i];
        while (*given == '-') given++;
        if (given == argv[i] || strncasecmp(given, wanted.c_str(), wanted.size())) continue;
        given += wanted.size();
        if (*given == 0) return given;
        if (*given == '=') return given + 1;
    }
    return nullptr;
}
static inline int stringRemoveDelimiter(char delimiter, const char* text) {
    int start = 0;
    while (text[start] == delimiter) start++;
    return start;
}
static inline bool checkCmdLineFlag(int argc, const char** argv, const char* name) {
    return tt_flag(argc, argv, name) != nullptr;
}
static inline int getCmdLineArgumentInt(int argc, const char** argv, const char* name) {
    const char* value = tt_flag(argc, argv, name);
    return value ? atoi(value) : 0;
}
static inline float getCmdLineArgumentFloat(int argc, const char** argv, const char* name) {
    const char* value = tt_flag(argc, argv, name);
    return value ? (float)atof(value) : 0.0f;
}
template <class T>
static inline bool getCmdLineArgumentValue(int argc, const char** argv, const char* name, T* to) {
    const char* value = tt_flag(argc, argv, name);
    if (value) *to = (T)atoi(value);
    return value != nullptr;
}
static inline bool getCmdLineArgumentString(int argc, const char** argv, const char* name, char** to) {
    const char* value = tt_flag(argc, argv, name);
    *to = (char*)value;
    return value != nullptr;
}
static inline int getFileExtension(char* name, char** extension) {
    char* dot = strrchr(name, '.');
    *extension = dot ? dot + 1 : name + strlen(name);
    return dot ? (int)(dot - name) : 0;
}
// Where a data file is: as named, in ./data, or next to the program.
static inline char* sdkFindFilePath(const char* name, const char* program) {
    const std::string folder =
        program && strrchr(program, '/') ? std::string(program, strrchr(program, '/') + 1) : "";
    for (const std::string& where :
         {std::string(), std::string("data/"), std::string("./data/"), folder, folder + "data/",
          std::string("../../../Common/data/"), std::string("../../../../Common/data/")}) {
        const std::string path = where + name;
        if (FILE* file = fopen(path.c_str(), "rb")) {
            fclose(file);
            return strdup(path.c_str());
        }
    }
    return nullptr;
}
