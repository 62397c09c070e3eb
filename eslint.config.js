import tseslint from 'typescript-eslint'

const ABOVE_LIB = [
  'packet',
  'model',
  'policy',
  'source',
  'kernel',
  'datapath',
  'sync',
  'observe',
  'config',
  'cli',
]

/** Folders that a folder of src may not import from (architecture: data goes one way, see CONTRIBUTING.md). */
const FORBIDDEN = {
  lib: ABOVE_LIB,
  packet: ['model', 'policy', 'source', 'kernel', 'datapath', 'sync', 'observe', 'config', 'cli'],
  model: ['policy', 'kernel', 'datapath', 'sync', 'observe', 'config', 'cli'],
  policy: ['source', 'kernel', 'datapath', 'sync', 'observe', 'cli'],
  kernel: ['model', 'policy', 'source', 'datapath', 'sync', 'observe', 'cli'],
  datapath: ['source', 'sync', 'cli'],
  source: ['policy', 'kernel', 'datapath', 'sync', 'observe', 'cli'],
  page: ['lib', ...ABOVE_LIB],
  observe: ['source', 'kernel', 'datapath', 'sync', 'cli'],
}
const PURE = ['model', 'policy/balancer', 'packet']

const direction = Object.entries(FORBIDDEN).map(([folder, forbidden]) => ({
  files: [`src/${folder}/**/*.ts`],
  ignores: PURE.map((pure) => `src/${pure}/**`),
  rules: { 'no-restricted-imports': ['error', { patterns: patternsFor(forbidden) }] },
}))

const pure = PURE.map((folder) => ({
  files: [`src/${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          ...patternsFor(FORBIDDEN[folder.split('/')[0]]),
          { group: ['node:*'], message: `${folder} is pure: no I/O` },
        ],
      },
    ],
    'no-restricted-properties': [
      'error',
      { object: 'Date', property: 'now', message: 'time is a parameter here' },
      { object: 'Math', property: 'random', message: 'randomness is a parameter here' },
    ],
    'no-restricted-globals': ['error', 'setTimeout', 'setInterval', 'setImmediate', 'performance'],
  },
}))

function patternsFor(folders) {
  return [
    {
      group: folders.map((folder) => `**/${folder}/**`),
      message: 'data goes one way: this folder comes later',
    },
  ]
}

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'native/build/', '.tap/', 'coverage/'] },
  {
    files: ['src/**/*.ts', 'test/**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    languageOptions: {
      parserOptions: { project: './tsconfig.test.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      'no-console': 'error',
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', 4],
    },
  },
  {
    files: ['src/page/**/*.ts'],
    languageOptions: { parserOptions: { project: './tsconfig.page.json' } },
  },
  ...direction,
  ...pure,
  {
    files: ['test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-floating-promises': 'off',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      'max-lines': 'off',
      'max-lines-per-function': 'off',
    },
  },
)
